package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/runner"
)

func (a *app) planCommand() *cobra.Command {
	var set []string
	var probe bool
	var limit time.Duration
	var seed int64
	c := &cobra.Command{
		Use:   "plan SCENARIO",
		Short: "Print what a run would do, without doing it",
		Long: `Print what a run would do: services, what isolation changes, the timeline with targets and mechanisms. It reads files
only; with --probe it also asks the engine which mechanism this host has for each fault: the agent's container is started
for a moment and removed again, and nothing else is changed.`,
		Args: oneScenario,
		RunE: func(c *cobra.Command, args []string) error {
			limit, seed := &limit, &seed
			if !c.Flags().Changed(flagTimeLimit) {
				limit = nil
			}
			if !c.Flags().Changed(flagSeed) {
				seed = nil
			}
			return a.plan(c.Context(), args[0], set, limit, seed, probe)
		},
	}
	c.Flags().StringArrayVar(&set, "set", nil, "set a key of the scenario: `key=value` (repeatable)")
	c.Flags().DurationVar(&limit, flagTimeLimit, 0, timeLimitUsage)
	c.Flags().Int64Var(&seed, flagSeed, 0, seedUsage)
	c.Flags().BoolVar(&probe, "probe", false, "ask the engine which mechanisms it has")
	return c
}

func oneScenario(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{errors.New("name one scenario (discompose list shows them)")}
	}
	return nil
}

func (a *app) plan(ctx context.Context, name string, set []string, limit *time.Duration, seed *int64, probe bool) error {
	s, project, err := load(ctx, name, set)
	if err != nil {
		return err
	}
	if seed != nil {
		s.Seed = seed
	}
	a.doubts(s, project)
	if err := limitNemeses([]given{{Scenario: s}}, limit); err != nil {
		return err
	}
	var facts *faults.Facts
	if probe {
		found, err := probeHost(ctx)
		if err != nil {
			return err
		}
		facts = &found.facts
	}
	var isolation []string
	var services []compose.Service
	if project != nil {
		changes, err := project.Isolate(compose.IsolateOptions{Project: "dc" + "00000000", Run: "00000000", Share: s.Environment.Share, Publish: s.Environment.Publish})
		if err != nil {
			return err
		}
		for _, c := range changes {
			isolation = append(isolation, c.String())
		}
		services = project.Services()
	}
	if s.Seed == nil {
		fmt.Fprintln(a.Err, "discompose: the scenario has no seed: a run draws one, these are the choices of seed 0")
	}
	p, err := runner.NewPlan(s, runner.ServicesOf(services), isolation, facts, seedOf(s))
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.Out, p)
	return err
}

func (a *app) validateCommand() *cobra.Command {
	var set []string
	c := &cobra.Command{
		Use:   "validate SCENARIO...",
		Short: "Check scenarios and their Compose files; prints every error at once",
		Long: `Check scenarios and their Compose files, without an engine. Every error is printed at once, each with file, line, key
and what to do about it.`,
		RunE: func(c *cobra.Command, args []string) error {
			names, err := named(args, nil, false)
			if err != nil {
				return err
			}
			return a.validate(c.Context(), names, set)
		},
	}
	c.Flags().StringArrayVar(&set, "set", nil, "set a key of the scenario: `key=value` (repeatable)")
	return c
}

func (a *app) validate(ctx context.Context, names, set []string) error {
	var first error
	for _, name := range names {
		s, project, err := load(ctx, name, set)
		if err != nil {
			fmt.Fprintln(a.Err, err)
			first = firstOf(first, err)
			continue
		}
		a.doubts(s, project)
		fmt.Fprintf(a.Out, "%s: valid\n", name)
	}
	if first != nil {
		a.exit = exitOf(first)
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
