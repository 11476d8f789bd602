package replace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Scale gives a service another number of containers.
type Scale struct {
	Replicas *int            `toml:"replicas" doc:"required: how many containers the service has; 0 is none"`
	Grace    *units.Duration `toml:"grace" doc:"time between a container's stop signal and SIGKILL, in whole seconds, at most 15s; default: the container's own, of which the undo waits 15s at most"`
}

// mostReplicas keeps a slip of the pen from filling the engine.
const mostReplicas = 100

// ScaleSpec describes the kind.
func ScaleSpec() faults.Spec {
	s := spec(kindScale, "Up: further containers are made as the one with the lowest number was and started, with the next numbers, without host ports, and with volumes of their own where those have no name. "+
		"Down: the containers with the highest numbers are stopped in good order and removed. "+
		"Witness: the engine lists as many running containers as were asked for; the processes of those that went are gone. "+
		"Undo: the further ones are removed, and containers with the old names and numbers are made as those that went were. "+
		"A service whose containers cannot stand side by side (a name or an address of their own choice) is not scaled up, and none that another fault acts on is removed.")
	s.Summary, s.Whole = "give a service another number of containers", true
	s.New, s.Effect = func() faults.Fault { return &Scale{} }, scale{}
	return s
}

// Validate wants a number of containers.
func (f *Scale) Validate() error {
	var err error
	switch {
	case f.Replicas == nil:
		err = &faults.ParamError{Key: "replicas", Err: errors.New("is required"), Hint: "replicas = 3"}
	case *f.Replicas < 0 || *f.Replicas > mostReplicas:
		err = &faults.ParamError{Key: "replicas", Err: fmt.Errorf("must be between 0 and %d, not %d", mostReplicas, *f.Replicas), Hint: "replicas = 3"}
	}
	return errors.Join(err, validGrace(f.Grace))
}

// scaled is what a scale's record carries.
type scaled struct {
	Replicas int            `json:"replicas"`
	Grace    time.Duration  `json:"grace_ns,omitempty"`
	PIDs     map[string]int `json:"pids"` // PID 1 of each container that there was, by name
}

// Prepare journals what the service's containers were made of. It refuses a service of which a container is not running,
// and a number that it has already.
func (f *Scale) Prepare(ctx context.Context, env faults.Env, on faults.Target) (faults.Record, error) {
	rep, err := replacer(env)
	if err != nil {
		return faults.Record{}, fmt.Errorf("%s on %s: %w", kindScale, on, err)
	}
	w := scaled{Replicas: *f.Replicas, Grace: grace(f.Grace, -1)}
	err = faults.Settle(ctx, kindScale, on, look, func() (refusal, err error) {
		now, err := rep.Replicas(ctx, on.Project, on.Service)
		if err != nil {
			return nil, err
		}
		if refusal := replaced(env.Journal, on); refusal != nil {
			return refusal, nil
		}
		if refusal := odd(env, on, now); refusal != nil {
			return refusal, nil
		}
		had, err := crew(env, on, func() ([]faults.Blueprint, error) { return blueprints(ctx, env, rep, now) })
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", kindScale, on, err)
		}
		w.PIDs = map[string]int{}
		for _, c := range now {
			w.PIDs[c.Name] = c.PID
		}
		return refuse(env, on, now, lineUp(had, w.Replicas)), nil
	})
	if err != nil {
		return faults.Record{}, err
	}
	had, err := knownCrew(env, on)
	if err != nil {
		return faults.Record{}, err
	}
	if err := possible(had, w.Replicas); err != nil {
		return faults.Record{}, fmt.Errorf("%s on %s: %w: %w", kindScale, on, faults.ErrUnsupported, err)
	}
	return faults.NewRecord(kindScale, on, w)
}

// possible refuses a number of containers that changes nothing, or that the service cannot have.
func possible(had []faults.Blueprint, replicas int) error {
	switch {
	case len(had) == 0:
		return errors.New("it has no container")
	case replicas == len(had):
		return &faults.ParamError{Key: "replicas", Err: fmt.Errorf("the service has %d already, so this would change nothing", replicas), Hint: "ask for another number"}
	case replicas > len(had) && len(had[0].Single) > 0:
		return fmt.Errorf("a further container beside %s could not have %s", had[0].Was.Name, strings.Join(had[0].Single, ", "))
	}
	return nil
}

// replaced says which fault replaces a single container of the service at the same time.
func replaced(j faults.Journal, on faults.Target) error {
	for _, r := range j.Owed() {
		if isReplacing(r.Kind) && r.On.Service == on.Service {
			return fmt.Errorf("%s %q is active on %s", r.Kind, r.ID, r.On)
		}
	}
	return nil
}

// odd says which container has been made for a fault though no scale is active: that is being undone.
func odd(env faults.Env, on faults.Target, now []faults.Container) error {
	for _, c := range now {
		if c.Record != "" && !scales(env, on) {
			return fmt.Errorf("%s is the one that was made for %q", c.Name, c.Record)
		}
	}
	return nil
}

func scales(env faults.Env, on faults.Target) bool {
	return slices.ContainsFunc(env.Journal.Active(on.Key()), func(r faults.Record) bool { return r.Kind == kindScale })
}

// refuse says why the containers that there are now cannot be scaled: one is down by itself, or has a fault.
func refuse(env faults.Env, on faults.Target, now []faults.Container, slots []slot) error {
	for _, s := range slots {
		i := slices.IndexFunc(now, func(c faults.Container) bool { return c.Name == s.name })
		switch {
		case i < 0 && (s.want.replica || scales(env, on)):
		case i < 0:
			return fmt.Errorf("%s is away, and not by a fault", s.name)
		default:
			if err := unfit(now[i]); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if err := loses(env.Journal, now[i].ID); err != nil && s.want.absent {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// crewResource is the journal's name for the containers that a service had at first.
const crewResource = "replicas"

// crew is the journalled list of blueprints of a service's containers, by number. read is called where there is none.
func crew(env faults.Env, on faults.Target, read func() ([]faults.Blueprint, error)) ([]faults.Blueprint, error) {
	var all []faults.Blueprint
	raw, err := env.Journal.Base(on.Service, crewResource, func() (json.RawMessage, error) {
		all, err := read()
		if err != nil {
			return nil, err
		}
		return json.Marshal(all)
	})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("decode blueprints of %s: %w", on, err)
	}
	return all, nil
}

func knownCrew(env faults.Env, on faults.Target) ([]faults.Blueprint, error) {
	return crew(env, on, func() ([]faults.Blueprint, error) {
		return nil, errors.New("the journal does not know what its containers were made of")
	})
}

// blueprints reads what containers were made of; a name that had a fault before is in the journal.
func blueprints(ctx context.Context, env faults.Env, rep faults.Replacer, now []faults.Container) ([]faults.Blueprint, error) {
	all := make([]faults.Blueprint, 0, len(now))
	for _, c := range now {
		b, err := base(env, c.Name, func() (faults.Blueprint, error) { return rep.Blueprint(ctx, c.ID) })
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// lineUp is the slots of a service that has so many containers: those that it had, and further ones; and those that it had
// and that are absent.
func lineUp(had []faults.Blueprint, replicas int) []slot {
	var out []slot
	for i, b := range had {
		out = append(out, slot{name: b.Was.Name, base: b, want: desired{absent: i >= replicas}})
	}
	for i := len(had); i < replicas && len(had) > 0; i++ {
		out = append(out, further(had, i))
	}
	return out
}

// further is the slot of a container that the service did not have, from len(had) on.
func further(had []faults.Blueprint, i int) slot {
	first, number := had[0], had[len(had)-1].Was.Number+i-len(had)+1
	name := strings.TrimSuffix(first.Was.Name, strconv.Itoa(first.Was.Number)) + strconv.Itoa(number)
	return slot{name: name, base: first, want: desired{
		replica: true, changes: faults.Changes{Replica: &faults.Replica{Name: name, Number: number}},
	}}
}

// slotsOf is every name that active scales and r may have touched, with what belongs there when one record is left out.
func slotsOf(env faults.Env, r faults.Record, without string) (slots []slot, by *faults.Record, err error) {
	had, err := knownCrew(env, r.On)
	if err != nil {
		return nil, nil, err
	}
	w, err := decode[scaled](r)
	if err != nil {
		return nil, nil, err
	}
	replicas, most := len(had), max(len(had), w.Replicas)
	for _, a := range env.Journal.Active(r.On.Key()) {
		if a.Kind != kindScale || a.ID == without {
			continue
		}
		o, err := decode[scaled](a)
		if err != nil {
			return nil, nil, err
		}
		by, replicas, most = &a, o.Replicas, max(most, o.Replicas)
	}
	slots = lineUp(had, most)
	for i := range slots {
		s := &slots[i]
		s.grace = w.Grace
		s.want.absent = i >= replicas
		s.want.by = by
		if s.want.replica && by != nil {
			s.want.changes.Record = by.ID
		}
	}
	return slots, by, nil
}

type scale struct{}

// Apply removes and makes containers until there are as many as the newest scale asks for.
func (scale) Apply(ctx context.Context, env faults.Env, r faults.Record) error {
	if err := replaced(env.Journal, r.On); err != nil {
		return fmt.Errorf("%w: %w", faults.ErrUnsupported, err)
	}
	slots, _, err := slotsOf(env, r, "")
	if err != nil {
		return err
	}
	return all(slots, func(s slot) error { return s.lock(ctx, env) })
}

// lock reaches a slot while no fault can begin on the container that is there, and spares one that has a fault.
func (s slot) lock(ctx context.Context, env faults.Env) error {
	c, there, err := named(ctx, env, s.name)
	if err != nil {
		return err
	}
	if there {
		defer env.Journal.Lock(c.ID)()
		if err := loses(env.Journal, c.ID); err != nil && s.want.absent {
			return fmt.Errorf("remove %s: %w: %w", c.Name, faults.ErrUnsupported, err)
		}
	}
	return s.reach(ctx, env)
}

// Revert brings the service to as many containers as the other active scales ask for, or to those that it had.
func (scale) Revert(ctx context.Context, env faults.Env, r faults.Record) error {
	slots, _, err := slotsOf(env, r, r.ID)
	if err != nil {
		return err
	}
	return all(slots, func(s slot) error {
		s.undo = true
		return s.reach(ctx, env)
	})
}

// all does something for every slot at the same time.
func all(slots []slot, do func(slot) error) error {
	errs := make([]error, len(slots))
	var wg sync.WaitGroup
	for i, s := range slots {
		wg.Go(func() { errs[i] = do(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Settled reports whether there are as many containers as the active records ask for, and all are ready.
func (scale) Settled(ctx context.Context, env faults.Env, r faults.Record) (bool, error) {
	slots, _, err := slotsOf(env, r, "")
	if err != nil {
		return false, err
	}
	for _, s := range slots {
		if ready, err := s.ready(ctx, env, s.name); err != nil || !ready {
			return false, err
		}
	}
	return true, nil
}
