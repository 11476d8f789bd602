package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/compose"
)

// findProject is the name of the running project that a command is about: the one that is named, else that of docker
// compose in this folder, else the only one of the engine.
func findProject(ctx context.Context, named string) (string, error) {
	from := "--project"
	if named == "" {
		name, err := compose.ProjectName(ctx, "")
		if err != nil && !errors.Is(err, compose.ErrNoFile) {
			return "", &usageError{fmt.Errorf("find the project of this folder: %w (or name one with --project)", err)}
		}
		named, from = name, "this folder's Compose file, or COMPOSE_PROJECT_NAME"
	}
	eng, err := compose.Connect(ctx)
	if err != nil {
		return "", err
	}
	all, err := eng.Projects(ctx)
	if err = errors.Join(err, eng.Close()); err != nil {
		return "", err
	}
	return chooseProject(named, from, all)
}

// chooseProject chooses by name, or the only project that is not a run's own.
func chooseProject(named, from string, all []compose.RunningProject) (string, error) {
	if named != "" {
		if !slices.ContainsFunc(all, func(p compose.RunningProject) bool { return p.Name == named }) {
			return "", fmt.Errorf("find project %q (from %s): %w (%s)", named, from, compose.ErrNoProject, running(all))
		}
		return named, nil
	}
	own := slices.DeleteFunc(slices.Clone(all), func(p compose.RunningProject) bool { return p.Run != "" })
	switch len(own) {
	case 1:
		return own[0].Name, nil
	case 0:
		return "", fmt.Errorf("find a project: there is no Compose file here, and of a project of your own: %w (%s)", compose.ErrNoProject, running(all))
	}
	return "", &usageError{fmt.Errorf("several projects run, and there is no Compose file here: name one with --project (%s)", running(all))}
}

// running lists projects for people.
func running(all []compose.RunningProject) string {
	var names []string
	for _, p := range all {
		name := p.Name
		if p.Run != "" {
			name += " (of run " + p.Run + ")"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "running: none"
	}
	return "running: " + strings.Join(names, ", ")
}
