package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/runner"
)

func (a *app) healCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "heal [RUN]", Short: "Undo what a run left behind, from its journal (default: the latest)", Args: usageArgs(cobra.MaximumNArgs(1)),
		Long: `Undo what a run left behind: every fault that its journal still owes, then everything that carries the run's label. It may
be run any number of times. --all does it for every open run, and for what carries the label of a run that is not known.`,
		RunE: func(c *cobra.Command, args []string) error { return a.heal(c.Context(), args, all) },
	}
	c.Flags().BoolVar(&all, "all", false, "every run whose runner is gone")
	return c
}

func (a *app) heal(ctx context.Context, args []string, all bool) error {
	o := runner.HealOptions{Kinds: catalogue.All(), Log: a.logger(a.Err), Say: func(text string) { fmt.Fprintln(a.Out, text) }}
	if !all {
		dir, err := a.runDir(args)
		if err != nil {
			return err
		}
		o.Kept = true // it is asked for by name
		err = runner.Heal(ctx, dir, o)
		if errors.Is(err, runner.ErrAlive) || errors.Is(err, runner.ErrOtherEngine) {
			return &usageError{err}
		}
		return err
	}
	if len(args) > 0 {
		return &usageError{errors.New("give a run or --all, not both")}
	}
	return errors.Join(runner.HealStale(ctx, o), runner.HealUnknown(ctx, o))
}

func (a *app) pruneCommand() *cobra.Command {
	var keep int
	c := &cobra.Command{
		Use: "prune", Short: "Remove old run directories and agent images", Args: usageArgs(cobra.NoArgs),
		Long: `Remove old run directories, and the agent images of other builds. A run that goes on or is not healed is kept.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.prune(c.Context(), keep) },
	}
	c.Flags().IntVar(&keep, "keep-last", 10, "how many run directories to keep")
	return c
}

func (a *app) prune(ctx context.Context, keep int) error {
	if keep < 0 {
		return &usageError{fmt.Errorf("--keep-last %d: use 0 or more", keep)}
	}
	runs, err := runner.Runs(a.runsDir)
	if err != nil {
		return err
	}
	open, err := runner.Registered()
	if err != nil {
		return err
	}
	for _, dir := range runs[:max(len(runs)-keep, 0)] {
		d, err := runner.OpenDir(dir)
		if errors.Is(err, runner.ErrAlive) || errors.Is(err, runner.ErrOtherEngine) {
			continue
		}
		if err != nil {
			return err
		}
		if _, owed := open[d.ID]; owed {
			fmt.Fprintf(a.Err, "kept %s: it is not healed (discompose heal %s)\n", dir, dir)
			continue
		}
		if err := errors.Join(d.Close(), os.RemoveAll(dir)); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		fmt.Fprintln(a.Out, "removed "+dir)
	}
	return a.pruneImages(ctx)
}

func (a *app) pruneImages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	eng, err := compose.Connect(ctx)
	if err != nil {
		return err
	}
	image, err := runner.EnsureImage(ctx, eng.Docker(), nil)
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	removed, err := agent.PruneImages(ctx, eng.Docker(), image.Ref)
	for _, ref := range removed {
		fmt.Fprintln(a.Out, "removed image "+ref)
	}
	return errors.Join(err, eng.Close())
}
