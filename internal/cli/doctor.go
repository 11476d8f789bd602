package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/runner"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Print what this host can do, kind by kind, with the mechanism", Args: usageArgs(cobra.NoArgs),
		Long: `Print what this host can do, kind by kind, with the mechanism, and what to do about what it cannot. It starts the
agent's container for a moment and removes it again.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
}

// host is what a probe found.
type host struct {
	info    compose.Info
	facts   faults.Facts
	refused error         // why there is no agent
	started time.Duration // from the call to the agent's answer
}

// probeHost starts an agent, asks it what the host can do, and lets it leave.
func probeHost(ctx context.Context) (h host, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	eng, err := compose.Connect(ctx)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if h.info, err = eng.Info(ctx); err != nil {
		return h, err
	}
	image, err := runner.EnsureImage(ctx, eng.Docker(), nil)
	if err != nil {
		return h, err
	}
	raw := make([]byte, 4)
	_, _ = rand.Read(raw) // crypto/rand never fails on the supported systems
	id := hex.EncodeToString(raw)
	began := time.Now()
	conn, _, err := agent.StartAgent(ctx, eng.Docker(), agent.AgentOptions{Image: image.Ref, Name: "discompose-doctor-" + id, Run: id, Project: "doctor-" + id, OnEvent: func(agent.Event) {}})
	if errors.Is(err, agent.ErrRefused) {
		h.refused = err
		return h, nil
	}
	if err != nil {
		return h, err
	}
	err = conn.Call(ctx, agent.OpHello, agent.Hello{Run: id, Project: "doctor-" + id}, &h.facts)
	h.started = time.Since(began)
	return h, errors.Join(err, conn.Call(ctx, agent.OpBye, nil, nil), conn.Close(), compose.RemoveRun(ctx, eng.Docker(), id))
}

func (a *app) doctor(ctx context.Context) error {
	h, err := probeHost(ctx)
	if err != nil {
		return err
	}
	i := runner.EngineOf(h.info, "")
	fmt.Fprintf(a.Out, "engine   %s (API %s), %s %s, kernel %s, cgroup v%s, storage %s, %d CPUs, %d MiB\n",
		i.Version, i.API, i.OS, i.Arch, i.Kernel, i.Cgroup, i.Storage, i.CPUs, i.Memory>>20)
	if h.refused != nil {
		fmt.Fprintf(a.Out, "agent    refused: %v\n         Only the Docker API is left: limits need a set base value, a kill does not act as a crash, and nothing heals when this process is killed.\n", h.refused)
	} else {
		fmt.Fprintf(a.Out, "agent    started in %d ms\n", h.started.Milliseconds())
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nKIND\tHERE\tMECHANISM")
	for _, s := range catalogue.All() {
		m, err := s.Mechanism(h.facts)
		switch {
		case err != nil:
			fmt.Fprintf(w, "%s\tno\t%v\n", s.Kind, err)
		case m.Note != "":
			fmt.Fprintf(w, "%s\tyes\t%s (%s)\n", s.Kind, m.Name, m.Note)
		default:
			fmt.Fprintf(w, "%s\tyes\t%s\n", s.Kind, m.Name)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	missing := make([]string, 0, len(h.facts.Missing))
	for c, why := range h.facts.Missing {
		missing = append(missing, fmt.Sprintf("missing  %s: %s", c, why))
	}
	sort.Strings(missing)
	for _, m := range missing {
		fmt.Fprintln(a.Out, m)
	}
	return nil
}
