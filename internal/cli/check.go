package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
)

// runDir resolves a command's RUN argument; none is the latest run.
func (a *app) runDir(args []string) (string, error) {
	path := filepath.Join(a.runsDir, "latest")
	if len(args) > 0 {
		path = args[0]
		// Reports name a run with its parent folder only, which need not be in this one.
		for _, under := range []string{args[0], filepath.Base(args[0])} {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				path = filepath.Join(a.runsDir, under)
			}
		}
	}
	_, err := os.Stat(filepath.Join(path, "run.json"))
	if len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
		return "", &usageError{fmt.Errorf("there is no run in %s yet: make one (discompose run SCENARIO), name one, or say with --runs-dir where they are", a.runsDir)}
	}
	if err != nil {
		return "", &usageError{fmt.Errorf("%s is not a run directory: %w", path, err)}
	}
	return path, nil
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [RUN]", Short: "Judge a stored run again (default: the latest)", Args: usageArgs(cobra.MaximumNArgs(1)),
		Long: "Judge a stored run again, from its ledger and the rules stored with it, and print its report. The exit code is the verdict's.",
		RunE: func(c *cobra.Command, args []string) error { return a.check(c.Context(), args) },
	}
}

func (a *app) check(ctx context.Context, args []string) error {
	dir, err := a.runDir(args)
	if err != nil {
		return err
	}
	j, err := runner.JudgeRun(ctx, dir, nil)
	if errors.Is(err, runner.ErrNoPlan) || errors.Is(err, runner.ErrInjected) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	if err := runner.WriteReports(ctx, dir); err != nil {
		return err
	}
	rec, err := reports.LoadContext(ctx, dir)
	if err != nil {
		return err
	}
	a.exit = exitOfOutcome(runner.Outcome{Judged: true, Judgement: j})
	return reports.TextOptions{Color: a.color()}.Write(a.Out, rec)
}

func (a *app) reportCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "report [RUN]", Short: "Print the report of a stored run (default: the latest)", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return a.report(args, format) },
	}
	c.Flags().StringVar(&format, "format", "markdown", "`format`: "+strings.Join(formats(), ", "))
	return c
}

// formats lists the names of the report's formats.
func formats() []string {
	var names []string
	for _, f := range reports.Formats() {
		names = append(names, f.Name)
	}
	return names
}

func (a *app) report(args []string, format string) error {
	var write reports.Writer
	for _, f := range reports.Formats() {
		if f.Name == format {
			write = f.Write
		}
	}
	if write == nil {
		return &usageError{fmt.Errorf("--format %q: use one of %s", format, strings.Join(formats(), ", "))}
	}
	dir, err := a.runDir(args)
	if err != nil {
		return err
	}
	rec, err := reports.Load(dir)
	if err != nil {
		return err
	}
	if rec.Run.Injected {
		return &usageError{fmt.Errorf("report %s: %w: there is no report; its plan.txt, events.jsonl and journal.jsonl say what happened", dir, runner.ErrInjected)}
	}
	if rec.Judgement.Verdict == oracle.Inconclusive && rec.Judgement.Primary == "" {
		fmt.Fprintln(a.Err, "discompose: this run was not judged; discompose check judges it")
	}
	return write(a.Out, rec)
}
