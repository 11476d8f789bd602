package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/internal/starter"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

func (a *app) newCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "new", Short: "Write a scenario to start from, or the files of a new fault kind", Args: usageArgs(cobra.NoArgs),
		Long: `Write a scenario for your own Compose file to start from, or, in discompose's source tree, the files of a new fault kind.`,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{errors.New("say what: new scenario NAME, or new fault KIND")}
		},
	}
	c.AddCommand(a.newScenarioCommand(), a.newFaultCommand())
	return c
}

// scenarioName is what the file of a scenario may be called, so that list and run find it.
var scenarioName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*\.toml$`)

type newScenarioOptions struct {
	files []string
	force bool
}

func (a *app) newScenarioCommand() *cobra.Command {
	var o newScenarioOptions
	c := &cobra.Command{
		Use:   "scenario NAME [--compose FILE]",
		Short: "Write a scenario of 15 lines for a Compose file",
		Long: `Write NAME.toml, a scenario of at most 15 lines for a Compose file: the service that most others reach freezes or stops, and the
outermost of those is asked all the while, over HTTP where its healthcheck or its image says how, else over TCP. Comments say
what to change. What it writes validates and has a plan. NAME may have a folder; without --compose, the files are those that
docker compose would read in this folder.`,
		Example: "  discompose new scenario db_pause\n  discompose new scenario chaos/db_pause --compose deploy/compose.yaml",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE:    func(c *cobra.Command, args []string) error { return a.newScenario(c.Context(), args[0], o) },
	}
	c.Flags().StringArrayVar(&o.files, "compose", nil, "Compose `file` (repeatable; merged in order)")
	c.Flags().BoolVar(&o.force, "force", false, "write over a file that is there")
	return c
}

func (a *app) newScenario(ctx context.Context, name string, o newScenarioOptions) error {
	path := strings.TrimSuffix(name, ".toml") + ".toml"
	if base := filepath.Base(path); !scenarioName.MatchString(base) {
		return &usageError{fmt.Errorf("%q is no name of a scenario: use letters, digits, -, _ and ., and begin with a letter or digit", name)}
	}
	if _, err := os.Lstat(path); err == nil && !o.force {
		return &usageError{fmt.Errorf("%s is there already: choose another name, or write over it with --force", path)}
	}
	project, err := compose.Load(ctx, compose.LoadOptions{Files: o.files})
	if err != nil {
		return &usageError{err}
	}
	proposal, err := starter.Propose(project)
	if err != nil {
		return &usageError{fmt.Errorf("propose a scenario for %s: %w", strings.Join(project.Files(), ", "), err)}
	}
	files, err := relativeTo(filepath.Dir(path), project.Files())
	if err != nil {
		return err
	}
	text := proposal.Scenario(strings.TrimSuffix(filepath.Base(path), ".toml"), files)
	refused, err := tryScenario(ctx, path, text)
	if err != nil {
		return err
	}
	if err := writeNew(path, text, o.force); err != nil {
		return err
	}
	probe := proposal.Probe
	fmt.Fprintf(a.Out, "wrote %s: %s %s, %s is asked all the while (%s %s)\n", path, proposal.Target, proposal.Does(), probe.Service, probe.Kind, probe.Target)
	fmt.Fprintf(a.Out, "next: discompose plan %s, then discompose run %s\n", path, path)
	if refused != nil {
		fmt.Fprintf(a.Err, "discompose: a run will be refused until this is settled: %v\n", refused)
	}
	return nil
}

// relativeTo makes paths relative to a folder, as a scenario there names them.
func relativeTo(dir string, paths []string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find folder: %w", err)
	}
	var out []string
	for _, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			rel = p // on another volume
		}
		out = append(out, filepath.ToSlash(rel))
	}
	return out, nil
}

// tryScenario reads a scenario as validate and plan would if it stood at path. refused is what a run of its Compose file
// would not be allowed.
func tryScenario(ctx context.Context, path string, text []byte) (refused, err error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find folder: %w", err)
	}
	file := oneFile{filepath.Base(path), text}
	o := scenarioOptions(nil)
	o.Origin = scenarios.Origin{Path: path, Dir: dir}
	s, err := scenarios.Parse(file, file.name, o)
	if err != nil {
		return nil, err
	}
	project, err := runner.LoadProject(ctx, s, "")
	if err != nil {
		return nil, composeError(s, err)
	}
	services := runner.ServicesOf(project.Services())
	if err := s.CheckServices(services); err != nil {
		return nil, err
	}
	if _, err := runner.NewPlan(s, services, nil, nil, 0); err != nil {
		return nil, err
	}
	_, refused = project.Isolate(compose.IsolateOptions{Project: "dc00000000", Run: "00000000"})
	return refused, nil
}

// writeNew writes a file and the folder that it is in. Without force it never writes over one.
func writeNew(path string, text []byte, force bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return &usageError{fmt.Errorf("make folder: %w", err)}
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{fmt.Errorf("%s is there already: write over it with --force", path)}
	}
	if err != nil {
		return &usageError{fmt.Errorf("write %s: %w", path, err)}
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
