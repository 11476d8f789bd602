// Command agentmain is a small agent and client for the end-to-end tests of package agent. Its journal entries are
// {"pause": "<container>"}: healing unpauses them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if len(args) == 0 {
		return 64
	}
	var err error
	switch args[0] {
	case agent.RoleForkProbe:
		return agent.ForkProbeMain(args[1:])
	case agent.RoleAgent:
		err = serveAgent(ctx)
	case agent.RoleClient:
		err = serveClient(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveAgent(ctx context.Context) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	lease, _ := time.ParseDuration(os.Getenv(agent.LeaseEnv))
	var mu sync.Mutex
	var paused []string
	return agent.ServeAgent(ctx, os.Stdin, os.Stdout, agent.ServeOptions{
		Docker: docker,
		Lease:  lease,
		OnJournal: func(line json.RawMessage) error {
			var e struct{ Pause string }
			if err := json.Unmarshal(line, &e); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			paused = append(paused, e.Pause)
			return nil
		},
		Heal: func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			var errs []error
			for _, id := range paused {
				errs = append(errs, docker.ContainerUnpause(ctx, id))
			}
			return errors.Join(errs...)
		},
		Log: func(s string) { fmt.Fprintln(os.Stderr, s) },
	})
}

func serveClient(ctx context.Context) error {
	s := agent.NewServer(os.Stdout)
	return s.Serve(ctx, os.Stdin, agent.Handler{
		"echo": func(_ context.Context, args json.RawMessage) (any, error) { return args, nil },
		"write": func(context.Context, json.RawMessage) (any, error) {
			return nil, os.WriteFile("/proof", nil, 0o600) // must fail: the root is read-only
		},
		"flood": func(_ context.Context, args json.RawMessage) (any, error) {
			var n int
			if err := json.Unmarshal(args, &n); err != nil {
				return nil, err
			}
			for i := range n {
				if err := s.Emit("op", map[string]any{"w": "orders", "p": i % 4, "f": "produce", "x": i, "t1": i, "t2": i, "r": "ok"}); err != nil {
					return nil, err
				}
			}
			return n, nil
		},
	})
}
