package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/runner"
)

type topologyOptions struct {
	format  string
	observe bool
	window  time.Duration
}

func (a *app) topologyCommand() *cobra.Command {
	var o topologyOptions
	c := &cobra.Command{
		Use:   "topology [FILE... | SCENARIO | --observe PROJECT]",
		Short: "Print services and the links between them, with the reasons to believe in each",
		Long: `Print the services of Compose files, or of a scenario's environment, and the links between them as far as the files
tell: what environment, entrypoint, command, inline configs, links and depends_on name, where it leads to another service over a
network that both are in. Each link comes with its reasons; a port that no setting tells is the server's only TCP port, or not known.
Without arguments it reads what docker compose would read in this folder; COMPOSE_PROFILES enables profiles.

With --observe it lists the connections that are open in a running project, by an agent that looks at its containers for a
moment and leaves them as they were. A name that is no YAML or TOML file is the project's name; Compose files beside it, or alone, add
what they tell. A scenario names the project that it attaches to.`,
		Example: "  discompose topology compose.yaml\n  discompose topology kafka_broker_pause --format mermaid\n  discompose topology --observe my-project",
		RunE:    func(c *cobra.Command, args []string) error { return a.topology(c.Context(), args, o) },
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "text", "`format`: "+strings.Join(topologyFormats(), ", "))
	f.BoolVar(&o.observe, "observe", false, "read the connections that are open in a running project")
	f.DurationVar(&o.window, "for", 2*time.Second, "how long to watch a running project")
	return c
}

func (a *app) topology(ctx context.Context, args []string, o topologyOptions) error {
	write := topologyWriter(o.format)
	if write == nil {
		return &usageError{fmt.Errorf("--format %q: use one of %s", o.format, strings.Join(topologyFormats(), ", "))}
	}
	if o.window < 0 {
		return &usageError{fmt.Errorf("--for %s: use 0s or more", o.window)}
	}
	source, err := findTopology(ctx, args, o.observe)
	if err != nil {
		return err
	}
	var t compose.Topology
	if source.declared != nil {
		t = source.declared.Topology()
		for _, w := range slices.Concat(source.declared.Warnings(), t.Warnings) {
			fmt.Fprintln(a.Err, "discompose: "+w)
		}
	}
	if o.observe {
		seen, err := runner.Observe(ctx, source.project, o.window, func(text string) { fmt.Fprintln(a.Err, "discompose: "+text) })
		if err != nil {
			return err
		}
		t = withObserved(t, seen)
	}
	return write(a.Out, t)
}

// topologySource is what a call asks about.
type topologySource struct {
	declared *compose.Project // nil where only a running project counts
	project  string           // to observe
}

// findTopology understands the arguments.
func findTopology(ctx context.Context, args []string, observe bool) (topologySource, error) {
	var files, names []string
	for _, arg := range args {
		if ext := filepath.Ext(arg); ext == ".yaml" || ext == ".yml" {
			files = append(files, arg)
		} else {
			names = append(names, arg)
		}
	}
	isProject := observe && len(names) == 1 && filepath.Ext(names[0]) != ".toml"
	switch {
	case len(names) > 1, len(names) == 1 && len(files) > 0 && !isProject:
		return topologySource{}, &usageError{fmt.Errorf("%s: give Compose files (.yaml, .yml), or one scenario", strings.Join(args, " "))}
	case isProject && len(files) == 0:
		return topologySource{project: names[0]}, nil
	case len(names) == 1 && !isProject:
		return scenarioTopology(ctx, names[0], observe)
	}
	p, err := compose.Load(ctx, compose.LoadOptions{Files: files})
	if err != nil {
		return topologySource{}, &usageError{err}
	}
	if isProject {
		return topologySource{p, names[0]}, nil
	}
	return topologySource{p, p.Name()}, nil
}

func scenarioTopology(ctx context.Context, name string, observe bool) (topologySource, error) {
	s, p, err := load(ctx, name, nil)
	if err != nil {
		return topologySource{}, err
	}
	attach := s.Environment.Attach
	switch {
	case observe && attach == "":
		return topologySource{}, &usageError{errors.New("--observe: the scenario attaches to no running project; name a project")}
	case !observe && attach != "":
		return topologySource{}, &usageError{fmt.Errorf("%s attaches to the project %s and has no Compose file: use --observe", name, attach)}
	}
	return topologySource{p, attach}, nil
}

// withObserved adds what was seen of a running project.
func withObserved(t compose.Topology, seen runner.Observation) compose.Topology {
	if t.Services == nil {
		t.Services = seen.Services
	}
	var links []compose.TopologyLink
	for _, c := range seen.Connections {
		why := "1 open connection"
		if c.Count != 1 {
			why = fmt.Sprintf("%d open connections", c.Count)
		}
		links = append(links, compose.TopologyLink{From: c.From, To: c.To, Port: c.Port, Why: []string{why}})
	}
	return t.With(links...)
}

// topologyWriter is the writer of a format, or nil.
func topologyWriter(format string) func(io.Writer, compose.Topology) error {
	switch format {
	case "text":
		return topologyText
	case "mermaid":
		return topologyMermaid
	case "dot":
		return topologyDOT
	}
	return nil
}

// topologyFormats lists the names of the formats.
func topologyFormats() []string { return []string{"text", "mermaid", "dot"} }
