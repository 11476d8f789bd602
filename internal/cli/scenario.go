package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
)

// scenarioOptions is how this build reads scenarios.
func scenarioOptions(set []string) scenarios.Options {
	return scenarios.Options{
		Kinds: catalogue.All(), Env: os.LookupEnv, Set: set, Environments: compose.Environments(),
		Drivers: map[string]func() any{"kafka": func() any { return &workload.KafkaOptions{} }},
	}
}

// parse finds and reads one scenario.
func parse(name string, set []string) (*scenarios.Scenario, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working folder: %w", err)
	}
	fsys, file, origin, err := scenarios.Find(name, cwd)
	if err != nil {
		return nil, &usageError{err}
	}
	o := scenarioOptions(set)
	o.Origin = origin
	return scenarios.Parse(fsys, file, o)
}

// load reads one scenario and its Compose files, and checks the one against the other; it asks no engine.
func load(ctx context.Context, name string, set []string) (*scenarios.Scenario, *compose.Project, error) {
	s, err := parse(name, set)
	if err != nil {
		return nil, nil, err
	}
	if s.Environment.Attach != "" {
		return s, nil, nil
	}
	project, err := runner.LoadProject(ctx, s, "discompose/self")
	if err != nil {
		return nil, nil, composeError(s, err)
	}
	return s, project, s.CheckServices(runner.ServicesOf(project.Services()))
}

// composeError puts an error of the Compose files at the place where the scenario names them.
func composeError(s *scenarios.Scenario, err error) error {
	out := &scenarios.Error{File: s.Origin.Path, Row: 1, Col: 1, Key: "environment", Problem: err.Error(), Hint: "paths are relative to the scenario's folder"}
	for _, key := range []string{"environment", "environment.files", "environment.use", "environment.files[0]"} {
		if place, ok := s.Places[key]; ok {
			out.File, out.Row, out.Col, out.Key = place.File, place.Row, place.Col, key
		}
	}
	return scenarios.Errors{out}
}

// named lists the scenarios that a command is about: its arguments, and those of the catalogue with a tag.
func named(args, tags []string) ([]string, error) {
	if len(tags) == 0 {
		if len(args) == 0 {
			return nil, &usageError{errors.New("name a scenario or give --tag (discompose list shows them)")}
		}
		return args, nil
	}
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working folder: %w", err)
	}
	all, err := scenarios.List(cwd, scenarioOptions(nil))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(args)
	for _, l := range all {
		if slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(l.Tags, t) }) && !slices.Contains(out, l.Name) {
			out = append(out, l.Name)
		}
	}
	if len(out) == 0 {
		return nil, &usageError{fmt.Errorf("no scenario has tag %v (discompose list shows the tags)", tags)}
	}
	return out, nil
}

// seedOf is the seed that a plan shows: the scenario's own, else a placeholder that the run draws anew.
func seedOf(s *scenarios.Scenario) int64 {
	if s.Seed != nil {
		return *s.Seed
	}
	return 0
}

func lookup(kind string) (faults.Spec, error) {
	if spec, ok := catalogue.Lookup(faults.Kind(kind)); ok {
		return spec, nil
	}
	return faults.Spec{}, &usageError{fmt.Errorf("unknown kind %q (discompose faults lists them)", kind)}
}
