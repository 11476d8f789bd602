package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/engine"
)

// HealOptions is what healing is given. All fields are required.
type HealOptions struct {
	Kinds []faults.Spec
	Log   *slog.Logger
	Say   func(text string)
	Kept  bool // remove an environment that was started with --keep, too
}

// agentLeaves is how long an agent that lost its runner may take to heal and leave by itself.
const agentLeaves = 20 * time.Second

// ErrOtherEngine says that a run was made on another engine than the one that is asked now.
var ErrOtherEngine = errors.New("the run is on another engine")

// Heal undoes what the run in dir left behind, from its journal alone: every fault that is owed, then everything that
// carries its label. It may be run any number of times. ErrAlive says that the run is still going on.
func Heal(ctx context.Context, dir string, o HealOptions) error {
	d, err := OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // the lock goes with the process
	state, err := ReadJournal(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if state == nil {
		state = &faults.State{}
	}
	eng, err := compose.Connect(ctx)
	if err != nil {
		return err
	}
	defer eng.Close() //nolint:errcheck // nothing is written through it any more
	note := state.Note()
	if note.Host != "" && note.Host != eng.Endpoint() {
		return fmt.Errorf("heal %s: %w: it was made on %s, this is %s (set DOCKER_HOST or the context to it)", d.Path, ErrOtherEngine, note.Host, eng.Endpoint())
	}
	docker := eng.Docker()
	if err := awaitGone(ctx, docker, func() ([]container.Summary, error) { return holdersOf(ctx, docker, d.ID) }); err != nil {
		return err
	}
	if err := healOwed(ctx, docker, d, state, o); err != nil {
		return err
	}
	if note.Keep && !o.Kept {
		o.Say(fmt.Sprintf("%s was started with --keep: its environment stays (discompose heal %s removes it)", d.Path, d.Path))
		return unregister(d.ID)
	}
	if err := errors.Join(compose.RemoveRun(ctx, docker, d.ID), removeOwner(ctx, docker, note)); err != nil {
		return fmt.Errorf("heal %s: %w", d.Path, err)
	}
	o.Say(d.Path + ": nothing left")
	return unregister(d.ID)
}

// removeOwner removes the environment that a run has used and another one had started, unless the process that has it is
// alive: then another run may be using it by now.
func removeOwner(ctx context.Context, docker *client.Client, note faults.RunNote) error {
	if note.Owner == "" {
		return nil
	}
	d, err := OpenDir(note.OwnerDir)
	switch {
	case errors.Is(err, ErrAlive):
		return nil
	case errors.Is(err, fs.ErrNotExist): // its label is enough
	case err != nil:
		return err
	default:
		defer d.Close() //nolint:errcheck // the lock goes with the process
	}
	return errors.Join(compose.RemoveRun(ctx, docker, note.Owner), unregister(note.Owner))
}

func healOwed(ctx context.Context, docker *client.Client, d *Dir, state *faults.State, o HealOptions) error {
	owed := state.Owed()
	if len(owed) == 0 {
		return nil
	}
	o.Say(fmt.Sprintf("%s: %d faults to undo", d.Path, len(owed)))
	file, err := openJournal(d.Path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // every entry is synced when it is written
	clock := newHostClock()
	state.Commit = (&journalFile{file: file, now: clock.now, ctx: context.WithoutCancel(ctx)}).commit
	env := faults.Env{Engine: engine.New(docker), Journal: state, Now: clock.now}
	host, err := healSession(ctx, docker, d, state.Note())
	if err != nil {
		o.Say("no agent, Docker API only: " + err.Error())
	} else {
		env.Host = host
		if err := clock.sync(ctx, host.ping); err != nil {
			o.Log.Debug("map the clock", "err", err)
		}
		defer func() {
			if err := host.bye(context.WithoutCancel(ctx)); err != nil {
				o.Log.Debug("end the agent", "err", err)
			}
		}()
	}
	healed, err := faults.Heal(ctx, env, owed, effectOf(o.Kinds))
	for _, r := range healed {
		o.Say(fmt.Sprintf("undid %s on %s", r.Kind, r.On))
	}
	return err
}

func healSession(ctx context.Context, docker *client.Client, d *Dir, note faults.RunNote) (*session, error) {
	image, err := EnsureImage(ctx, docker, nil)
	if err != nil {
		return nil, err
	}
	conn, _, err := agent.StartAgent(ctx, docker, agent.AgentOptions{
		Image: image.Ref, Name: AgentName(note.Project), Run: d.ID, Project: note.Project, Dir: d.Path, Lease: leaseTime, OnEvent: func(agent.Event) {},
	})
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, conn, agent.Hello{Run: d.ID, Project: note.Project, Keep: note.Keep, Attached: note.Attached}, func(error) {})
	if err != nil {
		return nil, err
	}
	if s.facts.Can(faults.CapPackets) {
		// Rules that a dead agent could not take along (kernels before 5.12) go when their tables are made anew; and what is
		// undone can be measured.
		if err := s.Call(ctx, agent.OpNetStart, agent.NetStart{Run: d.ID, Project: note.Project, Attached: true}, nil); err != nil {
			return nil, fmt.Errorf("look after the project's networks: %w", err)
		}
	}
	// The agent gets its copy, so that it goes on where this process might end.
	return s, sendJournal(ctx, d.Path, s)
}

func sendJournal(ctx context.Context, dir string, s *session) error {
	data, err := os.ReadFile(filepath.Join(dir, fileJournal))
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var line json.RawMessage
		if err := dec.Decode(&line); err != nil {
			return nil //nolint:nilerr // the end, or a torn last line
		}
		if err := s.journal(ctx, line); err != nil {
			return err
		}
	}
}

// awaitAgent waits until the agent of a run that lost its runner has healed and left, and removes it if it does not.
func awaitAgent(ctx context.Context, docker *client.Client, run string) error {
	return awaitGone(ctx, docker, func() ([]container.Summary, error) { return agentsOf(ctx, docker, run) })
}

// awaitGone waits until none of some agents is there any more, and removes those that do not leave.
func awaitGone(ctx context.Context, docker *client.Client, agents func() ([]container.Summary, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*agentLeaves)
	defer cancel()
	for began := time.Now(); ; {
		list, err := agents()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return nil
		}
		for _, c := range list {
			// One that was created and never started has nothing to heal, nor will it leave.
			if time.Since(began) > agentLeaves || c.State == container.StateCreated {
				if err := docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) {
					return fmt.Errorf("remove agent: %w", err)
				}
			}
		}
		if err := sleep(ctx, lookForAgent); err != nil {
			return fmt.Errorf("wait until the agent has left: %w", err)
		}
	}
}

// lookForAgent is the time between two looks for agents that are leaving.
const lookForAgent = 50 * time.Millisecond

// agentsOf lists a run's own agents.
func agentsOf(ctx context.Context, docker *client.Client, run string) ([]container.Summary, error) {
	return agentsWith(ctx, docker, LabelRun+"="+run)
}

// holdersOf lists the agents that answer for what carries a run's label: its own, and those of runs that use its environment.
func holdersOf(ctx context.Context, docker *client.Client, run string) ([]container.Summary, error) {
	own, err := agentsOf(ctx, docker, run)
	others, oerr := agentsWith(ctx, docker, labelOwner+"="+run)
	return append(own, others...), errors.Join(err, oerr)
}

func agentsWith(ctx context.Context, docker *client.Client, label string) ([]container.Summary, error) {
	list, err := docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", label), filters.Arg("label", agent.LabelRole+"="+agent.RoleAgent))})
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return list, nil
}

// HealStale heals every registered run whose runner is gone and whose agent does not run. A run whose directory is gone
// is removed by its label.
func HealStale(ctx context.Context, o HealOptions) error {
	open, err := Registered()
	if err != nil {
		return err
	}
	ids := sortedKeys(open)
	// A run that uses another's environment goes first: its faults are undone while what they are on is there.
	slices.SortStableFunc(ids, func(a, b string) int { return compareBool(uses(open[b]), uses(open[a])) })
	var errs []error
	for _, id := range ids {
		errs = append(errs, healRegistered(ctx, id, open[id], o))
	}
	return errors.Join(errs...)
}

// uses reports whether the run in dir uses the environment of another.
func uses(dir string) bool {
	state, err := ReadJournal(dir)
	return err == nil && state.Note().Owner != ""
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func healRegistered(ctx context.Context, id, dir string, o HealOptions) error {
	if _, err := os.Stat(filepath.Join(dir, fileLock)); errors.Is(err, fs.ErrNotExist) {
		o.Say(fmt.Sprintf("run %s: its directory %s is gone; removing what carries its label", id, dir))
		return HealByLabel(ctx, id, o)
	}
	err := Heal(ctx, dir, o)
	switch {
	case errors.Is(err, ErrAlive):
		return nil
	case errors.Is(err, ErrOtherEngine):
		o.Say(err.Error())
		return nil
	}
	return err
}

// HealByLabel removes everything that carries a run's label, without a journal. Values that a fault changed in
// containers that are not the run's own cannot be restored; the error says so.
func HealByLabel(ctx context.Context, id string, o HealOptions) error {
	eng, err := compose.Connect(ctx)
	if err != nil {
		return err
	}
	defer eng.Close() //nolint:errcheck // nothing is written through it any more
	docker := eng.Docker()
	agents, err := agentsOf(ctx, docker, id)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range agents {
		if a.Labels[labelAttached] != "" {
			errs = append(errs, thawProject(ctx, docker, a.Labels[agent.LabelProject], o))
		}
	}
	if err := awaitAgent(ctx, docker, id); err != nil {
		errs = append(errs, err)
	}
	if err := compose.RemoveRun(ctx, docker, id); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, unregister(id))...)
}

// thawProject unpauses and starts what a run without a journal may have left in a project that it was attached to.
func thawProject(ctx context.Context, docker *client.Client, project string, o HealOptions) error {
	list, err := docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+project))})
	if err != nil {
		return fmt.Errorf("list containers of %s: %w", project, err)
	}
	eng := engine.New(docker)
	var errs []error
	for _, c := range list {
		if c.State == "paused" {
			errs = append(errs, eng.Do(ctx, c.ID, faults.Action{Verb: faults.DoUnpause}))
			o.Say("unpaused " + c.Names[0])
		}
	}
	errs = append(errs, &faults.HealError{
		Record: faults.Record{Kind: "limits", On: faults.Target{Service: project}},
		Err:    errors.New("without a journal the base values of changed limits are not known: recreate the project's containers to be sure"),
	})
	return errors.Join(errs...)
}

// HealUnknown removes what carries the label of a run that is not registered here and whose agent does not run: it was
// made from another machine or its state folder is gone.
func HealUnknown(ctx context.Context, o HealOptions) error {
	open, err := Registered()
	if err != nil {
		return err
	}
	eng, err := compose.Connect(ctx)
	if err != nil {
		return err
	}
	ids, err := runsOnEngine(ctx, eng.Docker())
	if err = errors.Join(err, eng.Close()); err != nil {
		return err
	}
	var errs []error
	for id, live := range ids {
		if _, known := open[id]; known {
			continue
		}
		if live {
			o.Say(fmt.Sprintf("run %s: its agent runs; left alone", id))
			continue
		}
		o.Say(fmt.Sprintf("run %s: not known here; removing what carries its label", id))
		errs = append(errs, HealByLabel(ctx, id, o))
	}
	return errors.Join(errs...)
}

// runsOnEngine maps the id of each run that has anything on the engine to whether its agent runs.
func runsOnEngine(ctx context.Context, docker *client.Client) (map[string]bool, error) {
	byLabel := filters.NewArgs(filters.Arg("label", LabelRun))
	ids := map[string]bool{}
	found := func(labels map[string]string, runs bool) {
		for _, id := range []string{labels[LabelRun], labels[labelOwner]} {
			if id != "" {
				ids[id] = ids[id] || runs
			}
		}
	}
	containers, err := docker.ContainerList(ctx, container.ListOptions{All: true, Filters: byLabel})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		found(c.Labels, c.Labels[agent.LabelRole] == agent.RoleAgent && c.State == "running")
	}
	networks, err := docker.NetworkList(ctx, network.ListOptions{Filters: byLabel})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks {
		found(n.Labels, false)
	}
	volumes, err := docker.VolumeList(ctx, volume.ListOptions{Filters: byLabel})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range volumes.Volumes {
		found(v.Labels, false)
	}
	return ids, nil
}
