package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
)

// inventory is what the engine tells of each container of a project, by its full id.
type inventory map[string]item

// item is one container and the networks that it is in; none where they are not its own.
type item struct {
	name      string
	container faults.Container
	endpoints []faults.Endpoint
}

// Difference is what became of a running project.
type Difference struct {
	Containers int      // that were looked at
	Changes    []string // sentences, sorted; none where everything is as it was
	Unknown    error    // why it could not be looked at
}

// inventory looks at every container of the project.
func (r *run) inventory(ctx context.Context) (inventory, error) {
	list, err := r.env.Containers(ctx)
	if err != nil {
		return nil, err
	}
	eng := engine.New(r.engine.Docker())
	out := inventory{}
	for _, c := range list {
		one := item{name: c.String()}
		if one.container, err = eng.Inspect(ctx, c.ID); errors.Is(err, faults.ErrGone) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", c, err)
		}
		one.endpoints, err = eng.Endpoints(ctx, c.ID)
		if err != nil && !errors.Is(err, faults.ErrUnsupported) && !errors.Is(err, faults.ErrGone) {
			return nil, fmt.Errorf("read networks of %s: %w", c, err)
		}
		out[c.ID] = one
	}
	return out, nil
}

// compare looks again and tells what differs.
func (r *run) compare(ctx context.Context, before inventory) Difference {
	ctx, cancel := context.WithTimeout(ctx, snapshotBudget)
	defer cancel()
	after, err := r.inventory(ctx)
	return Difference{Containers: len(before), Changes: before.changes(after), Unknown: err}
}

// changes are sentences about containers that are not as they were; new ones are not told of.
func (before inventory) changes(after inventory) []string {
	if after == nil {
		return nil
	}
	var out []string
	for id, was := range before {
		is, there := after[id]
		if !there {
			out = append(out, was.name+": its container is gone")
			continue
		}
		if what := was.became(is); len(what) > 0 {
			out = append(out, was.name+": "+strings.Join(what, "; "))
		}
	}
	slices.Sort(out)
	return out
}

// became lists what is different.
func (was item) became(is item) []string {
	var out []string
	a, b := was.container, is.container
	switch {
	case a.Running != b.Running && !b.Running:
		out = append(out, fmt.Sprintf("it does not run any more (exit code %d)", b.ExitCode))
	case a.Running != b.Running:
		out = append(out, "it runs now")
	case !a.StartedAt.Equal(b.StartedAt):
		text := fmt.Sprintf("it was started again (process %d instead of %d)", b.PID, a.PID)
		if n := b.RestartCount - a.RestartCount; n > 0 {
			text = fmt.Sprintf("its restart policy started it again (process %d instead of %d)", b.PID, a.PID)
		}
		out = append(out, text)
	}
	if a.Paused != b.Paused {
		out = append(out, fmt.Sprintf("paused is %t now", b.Paused))
	}
	if a.Health != b.Health && b.Running {
		out = append(out, fmt.Sprintf("it is %s, and was %s", b.Health, a.Health))
	}
	if a.Limits != b.Limits {
		out = append(out, fmt.Sprintf("its limits are %+v, and were %+v", b.Limits, a.Limits))
	}
	return append(out, moved(was.endpoints, is.endpoints, a.Running && b.Running)...)
}

// moved lists networks that a container is in no longer, or anew, and addresses that changed while it runs.
func moved(before, after []faults.Endpoint, runs bool) []string {
	index := func(list []faults.Endpoint) map[string]faults.Endpoint {
		out := map[string]faults.Endpoint{}
		for _, ep := range list {
			out[ep.Network] = ep
		}
		return out
	}
	was, is := index(before), index(after)
	var out []string
	for _, id := range slices.Sorted(maps.Keys(was)) {
		a := was[id]
		b, in := is[id]
		switch {
		case !in:
			out = append(out, "it is not in network "+a.Name+" any more")
		case runs && !slices.Equal(a.Addresses, b.Addresses):
			out = append(out, fmt.Sprintf("its address in %s is %s, and was %s", a.Name, strings.Join(b.Addresses, ", "), strings.Join(a.Addresses, ", ")))
		case !slices.Equal(a.Aliases, b.Aliases):
			out = append(out, fmt.Sprintf("its names in %s are %v, and were %v", a.Name, b.Aliases, a.Aliases))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(is)) {
		if _, in := was[id]; !in {
			out = append(out, "it is in network "+is[id].Name+" now")
		}
	}
	return out
}

// String is the difference in a sentence or more, for people.
func (d Difference) String() string {
	switch {
	case d.Unknown != nil:
		return "it could not be looked at: " + d.Unknown.Error()
	case len(d.Changes) == 0:
		return fmt.Sprintf("all %d containers are as they were", d.Containers)
	}
	return fmt.Sprintf("%d containers are as they were but for this: %s", d.Containers, strings.Join(d.Changes, "; "))
}
