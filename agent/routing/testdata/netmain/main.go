// Command netmain is what the end-to-end tests of package routing run in containers: the agent and its networks' child, a
// server, a client that is driven over its stream, and a service that connects from its first instruction on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/agent/routing"
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
	case agent.RoleAgent:
		err = serveAgent(ctx)
	case agent.RoleNet:
		err = serveNet(ctx)
	case agent.RoleClient:
		err = serveClient(ctx)
	case "server":
		err = serve(ctx, args[1:])
	case "loop":
		err = loop(ctx, args[1])
	case "idle":
		<-ctx.Done()
	default:
		err = fmt.Errorf("no role %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func log(s string) { fmt.Fprintln(os.Stderr, s) }

func serveAgent(ctx context.Context) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	return agent.ServeAgent(ctx, os.Stdin, os.Stdout, agent.ServeOptions{
		Docker: docker, Lease: 5 * time.Minute, MoreFacts: routing.Probe, Log: log,
	})
}

func serveNet(ctx context.Context) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	err = routing.Serve(ctx, os.Stdin, os.Stdout, docker, log)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
