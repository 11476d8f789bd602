package replace

import (
	"context"
	"fmt"
	"slices"

	"github.com/discompose/discompose/faults"
)

// Confirm measures that as many containers run as were asked for, or that those run that there were.
func (scale) Confirm(ctx context.Context, env faults.Env, r faults.Record, active bool) (faults.Witness, error) {
	if !active {
		return goneScale(ctx, env, r)
	}
	if err := wanted(env, r); err != nil {
		return faults.Witness{}, err
	}
	w, err := decode[scaled](r)
	if err != nil {
		return faults.Witness{}, err
	}
	slots, by, err := slotsOf(env, r, "")
	if err != nil {
		return faults.Witness{}, err
	}
	if by.ID != r.ID {
		return faults.Witness{}, noWitness("scale %q has been overtaken by scale %q", r.ID, by.ID)
	}
	return faults.Await(ctx, look, func() (faults.Witness, error) {
		ready := 0
		now, err := listed(ctx, env, r.On, slots, func(s slot, c faults.Container, there bool) error {
			if wrong := s.want.mismatch(c, there); wrong != "" {
				return noWitness("%s %s", s.name, wrong)
			}
			if c.Ready() {
				ready++
			}
			if there {
				return nil
			}
			return ended(ctx, env, w.PIDs[s.name])
		})
		return count(now, fmt.Sprintf("the engine lists %d running containers of %s, %d of them ready; there were %d", now, r.On, ready, len(w.PIDs))), err
	})
}

// goneScale measures that the service has the containers that it is to have without r.
func goneScale(ctx context.Context, env faults.Env, r faults.Record) (faults.Witness, error) {
	slots, _, err := slotsOf(env, r, r.ID)
	if err != nil {
		return faults.Witness{}, err
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return faults.Await(soon, look, func() (faults.Witness, error) {
		if seen, err := slots[0].down(soon, env, r); err != nil || seen.What != "" {
			return seen, err
		}
		now, err := listed(soon, env, r.On, slots, func(s slot, _ faults.Container, _ bool) error {
			_, err := s.back(soon, env)
			return err
		})
		return count(now, fmt.Sprintf("the engine lists %d containers of %s, as many as without the fault, and each as it was made then", now, r.On)), err
	})
}

func count(n int, note string) faults.Witness {
	return faults.Witness{What: "containers that run", Value: float64(n), Unit: "containers", Note: note}
}

// listed counts the containers that the engine lists. It fails where check does, or where there is one that has no slot.
func listed(ctx context.Context, env faults.Env, on faults.Target, slots []slot, check func(s slot, c faults.Container, there bool) error) (int, error) {
	rep, err := replacer(env)
	if err != nil {
		return 0, err
	}
	now, err := rep.Replicas(ctx, on.Project, on.Service)
	if err != nil {
		return 0, err
	}
	expected := 0
	for _, s := range slots {
		var c faults.Container
		i := slices.IndexFunc(now, func(c faults.Container) bool { return c.Name == s.name })
		if i >= 0 {
			c = now[i]
		}
		if err := check(s, c, i >= 0); err != nil {
			return len(now), err
		}
		if !s.want.absent {
			expected++
		}
	}
	if len(now) != expected {
		return len(now), noWitness("the engine lists %d containers of %s, not %d", len(now), on, expected)
	}
	return len(now), nil
}
