package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

// scenarioOptions is how this build reads scenarios.
func scenarioOptions(set []string) scenarios.Options {
	return scenarios.Options{
		Kinds: catalogue.All(), Env: os.LookupEnv, Set: set, Environments: compose.Environments(),
		Drivers: drivers.Options(),
	}
}

// parse finds and reads one scenario; with an error comes what could be read, or nil.
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
	return scenarios.ParsePartial(fsys, file, o)
}

// load reads one scenario and its Compose files, and checks the one against the other; it asks no engine.
func load(ctx context.Context, name string, set []string) (*scenarios.Scenario, *compose.Project, error) {
	s, bad := parse(name, set)
	switch {
	case s == nil, bad != nil && s.Environment.Use == "" && len(s.Environment.Files) == 0:
		return nil, nil, bad
	case s.Environment.Attach != "":
		return s, nil, bad
	}
	project, err := runner.LoadProject(ctx, s, "discompose/self")
	if err != nil {
		if bad != nil && s.Environment.Use != "" {
			return nil, nil, bad // it names the environment already
		}
		return nil, nil, errors.Join(bad, composeError(s, err))
	}
	for _, err := range project.CheckSources() {
		bad = errors.Join(bad, composeError(s, err))
	}
	return s, project, errors.Join(bad, keyed(s.CheckServices(runner.ServicesOf(project.Services())), bad != nil))
}

// doubts prints what is no error and most likely a mistake: what Compose warns of, such as a variable that is not set, and
// ports that no file mentions. project is nil under attach.
func (a *app) doubts(s *scenarios.Scenario, project *compose.Project) {
	if project == nil {
		return
	}
	for _, w := range project.Warnings() {
		fmt.Fprintln(a.Err, "discompose: "+w)
	}
	for _, d := range s.Doubts(runner.ServicesOf(project.Services())) {
		fmt.Fprintln(a.Err, "discompose: "+d.Error())
	}
}

// keyed leaves out, where the scenario itself could not be read whole, what concerns no key: it may follow from that.
func keyed(err error, partial bool) error {
	var list scenarios.Errors
	if !partial || !errors.As(err, &list) {
		return err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(e *scenarios.Error) bool { return e.Key == "" })
	if len(list) == 0 {
		return nil
	}
	return list
}

// composeError puts an error of the Compose files at the place where the scenario names them, or the one that is not there.
func composeError(s *scenarios.Scenario, err error) error {
	out := &scenarios.Error{File: s.Origin.Path, Row: 1, Col: 1, Key: "environment", Problem: err.Error()}
	keys := []string{"environment", "environment.files", "environment.use", "environment.files[0]"}
	for i, name := range s.Environment.Files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.Origin.Dir, name)
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			keys = append(keys, fmt.Sprintf("environment.files[%d]", i))
			out.Hint = "paths are relative to the scenario's folder"
			break
		}
	}
	for _, key := range keys {
		if place, ok := s.Places[key]; ok {
			out.File, out.Row, out.Col, out.Key = place.File, place.Row, place.Col, key
		}
	}
	return scenarios.Errors{out}
}

// named lists the scenarios that a command is about: its arguments, those of the catalogue with a tag, and with all every
// shipped one.
func named(args, tags []string, all bool) ([]string, error) {
	if len(tags) == 0 && !all {
		if len(args) == 0 {
			return nil, &usageError{errors.New("name a scenario or give --tag (discompose list shows them)")}
		}
		return args, nil
	}
	shipped, err := scenarios.ShippedNames()
	if err != nil {
		return nil, err
	}
	if !all {
		shipped = nil
	}
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find working folder: %w", err)
	}
	list, err := scenarios.List(cwd, scenarioOptions(nil))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(args)
	for _, name := range shipped {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, l := range list {
		if slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(l.Tags, t) }) && !slices.Contains(out, l.Name) {
			out = append(out, l.Name)
		}
	}
	if len(out) == 0 {
		return nil, &usageError{fmt.Errorf("no scenario has tag %v (discompose list shows the tags)", tags)}
	}
	return out, nil
}

// The flag that limits a nemesis.
const (
	flagTimeLimit  = "time-limit"
	timeLimitUsage = "how long a nemesis starts faults, instead of the scenario's count or time_limit"
)

// The flag that replaces a scenario's seed.
const (
	flagSeed  = "seed"
	seedUsage = "seed of random choices, instead of the scenario's"
)

// limitNemeses gives the nemesis of each scenario that has one a time; nil leaves them as they are.
func limitNemeses(all []given, limit *time.Duration) error {
	if limit == nil {
		return nil
	}
	var errs []error
	limited := false
	for _, s := range all {
		if s.Nemesis != nil {
			limited = true
			errs = append(errs, s.LimitNemesis(*limit))
		}
	}
	if !limited {
		errs = append(errs, errors.New("no scenario has a [nemesis]"))
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{fmt.Errorf("--%s %s: %w", flagTimeLimit, *limit, err)}
	}
	return nil
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
	return faults.Spec{}, &usageError{fmt.Errorf("unknown kind %q (%s)", kind, scenarios.SuggestKind(kind, catalogue.All()))}
}
