package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/client"
	"github.com/spf13/cobra"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/agent/routing"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/faults/engine"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/drivers"
	"github.com/discompose/discompose/workload/embedded"
)

// hidden lists the roles that the binary plays in containers: nobody types them.
func (a *app) hidden() []*cobra.Command {
	role := func(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Hidden: true, Args: usageArgs(args), RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) }}
	}
	fork := role(agent.RoleForkProbe, "Try to start children (the agent runs itself with it)", cobra.ArbitraryArgs, func(_ context.Context, args []string) error {
		a.exit = Exit(agent.ForkProbeMain(args))
		return nil
	})
	fork.DisableFlagParsing = true
	return append(a.webCommands(),
		role(agent.RoleAgent, "The privileged role", cobra.NoArgs, func(ctx context.Context, _ []string) error { return a.serveAgent(ctx) }),
		role(agent.RoleNet, "The agent's process for networks", cobra.NoArgs, func(ctx context.Context, _ []string) error { return a.serveNet(ctx) }),
		role(agent.RoleClient, "The client role", cobra.NoArgs, func(ctx context.Context, _ []string) error { return a.serveClient(ctx) }),
		role("serve-kafka", "The embedded broker", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			o, err := embedded.KafkaFromEnv(os.LookupEnv)
			if err != nil {
				return &usageError{err}
			}
			return ended(ctx, embedded.ServeKafka(ctx, o))
		}),
		role("ping-kafka ADDRESS", "Ask a broker whether it answers", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return embedded.PingKafka(ctx, args[0])
		}),
		role("kafka-sync ADDRESS,...", "Ask a cluster whether all replicas of all partitions are in sync", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return workload.KafkaInSync(ctx, strings.Split(args[0], ","))
		}),
		fork, a.consumeCommand(),
	)
}

// ended turns the end by a signal, which is how a container is stopped, into success.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // err is how the work says that ctx ended
	}
	return err
}

// serveAgent wires the catalogue of faults into the agent: it heals from its own copy of the journal.
func (a *app) serveAgent(ctx context.Context) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return fmt.Errorf("reach the engine: %w", err)
	}
	defer docker.Close() //nolint:errcheck // the process ends
	log := func(text string) { fmt.Fprintln(a.Err, text) }
	host := agent.NewHost(docker, log)
	defer host.Close()
	state := &faults.State{}
	env := faults.Env{Engine: engine.New(docker), Host: localHost{host, factsOf(agent.Probe(ctx))}, Journal: state, Now: workload.Now}
	lookup := func(k faults.Kind) (faults.Effect, faults.Family, bool) {
		spec, ok := catalogue.Lookup(k)
		return spec.Effect, spec.Family, ok
	}
	return agent.ServeAgent(ctx, a.In, a.Out, agent.ServeOptions{
		Docker: docker, Host: host, Log: log, MoreFacts: routing.Probe,
		OnJournal: func(line json.RawMessage) error {
			var e faults.Entry
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("decode journal entry: %w", err)
			}
			return state.Replay(e)
		},
		Heal: func(ctx context.Context) error {
			_, err := faults.Heal(ctx, env, state.Owed(), lookup)
			return err
		},
		Clean: func(ctx context.Context) error {
			note := state.Note()
			if note.Run == "" || note.Keep {
				return nil
			}
			return compose.RemoveDeadRun(ctx, docker, note.Run, note.Owner)
		},
	})
}

// serveNet keeps the rules and proxies of a run; the agent started it and ends its input.
func (a *app) serveNet(ctx context.Context) error {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return fmt.Errorf("reach the engine: %w", err)
	}
	defer docker.Close() //nolint:errcheck // the process ends
	// A signal to the agent's group is the agent's to answer: it ends this process when it has healed.
	return routing.Serve(context.WithoutCancel(ctx), a.In, a.Out, docker, func(text string) { fmt.Fprintln(a.Err, text) })
}

// localHost is the agent's own door, as faults see it.
type localHost struct {
	h     *agent.Host
	facts faults.Facts
}

func (l localHost) Call(ctx context.Context, op string, args, out any) error {
	return l.h.Call(ctx, op, args, out)
}

func (l localHost) Facts() faults.Facts { return l.facts }

func factsOf(f agent.Facts) faults.Facts {
	out := faults.Facts{CgroupVersion: f.CgroupVersion, Kernel: f.Kernel, Arch: f.Arch, Missing: map[faults.Capability]string{}}
	for _, c := range f.Has {
		out.Has = append(out.Has, faults.Capability(c))
	}
	for c, why := range f.Missing {
		out.Missing[faults.Capability(c)] = why
	}
	return out
}

func (a *app) serveClient(ctx context.Context) error {
	server := agent.NewServer(a.Out)
	c := workload.NewClient(drivers.All(), func(event string, data json.RawMessage) {
		if err := server.Emit(event, data); err != nil {
			fmt.Fprintln(a.Err, "emit:", err)
		}
	})
	defer c.Close()
	h := agent.Handler{}
	for name, op := range c.Ops() {
		h[name] = op
	}
	return ended(ctx, server.Serve(ctx, a.In, h))
}

func (a *app) consumeCommand() *cobra.Command {
	o := workload.ConsumeOptions{Log: a.Err}
	c := &cobra.Command{
		Use: "consume", Short: "A consumer group member that prints what it is handed, as JSON lines", Hidden: true, Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Target == "" {
				return &usageError{errors.New("--target: name a broker, host:port")}
			}
			host, err := os.Hostname()
			if err != nil {
				return fmt.Errorf("ask for the host's name: %w", err)
			}
			o.Process = workload.ConsumerProcess(host)
			return workload.Consume(c.Context(), o, a.Out)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Target, "target", "", "host:port of a broker")
	f.StringVar(&o.Topic, "topic", "orders", "topic to read")
	f.StringVar(&o.Group, "group", "discompose-consumer", "consumer group")
	f.StringVar(&o.Isolation, "isolation", "read-committed", "read-committed or read-uncommitted")
	return c
}
