package replace_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/replace"
	"github.com/discompose/discompose/internal/units"
)

func number(n int) *int { return &n }

func seconds(s float64) *units.Duration {
	d := units.Duration(s * float64(time.Second))
	return &d
}

func TestValidateNamesTheKey(t *testing.T) {
	some := replace.Update{Image: "nginx:1.23"}
	with := func(change func(*replace.Update)) *replace.Recreate {
		u := some
		change(&u)
		return &replace.Recreate{Update: u}
	}
	for _, tt := range []struct {
		name string
		in   faults.Fault
		keys []string
		hint string
	}{
		{"remove by default", &replace.Remove{}, nil, ""},
		{"remove with a grace and a down time", &replace.Remove{DownFor: *seconds(3), Grace: seconds(2)}, nil, ""},
		{"remove with a broken grace", &replace.Remove{Grace: seconds(0.5)}, []string{"grace"}, `grace = "1s"`},
		{"remove that ends before it begins", &replace.Remove{DownFor: *seconds(-1), Grace: seconds(-1)}, []string{"down", "grace"}, `down = "5s"`},
		{"a grace that is longer than an attempt to undo", &replace.Remove{Grace: seconds(16)}, []string{"grace"}, `"15s"`},
		{"recreate with nothing", &replace.Recreate{}, []string{"image"}, "env, command"},
		{"rolling update with nothing", &replace.RollingUpdate{}, []string{"image"}, "env, command"},
		{"recreate with an image", &replace.Recreate{Update: some}, nil, ""},
		{"recreate with a limit alone", &replace.Recreate{Update: replace.Update{Memory: 6 << 20}}, nil, ""},
		{"recreate with a variable without a name", with(func(u *replace.Update) { u.Env = map[string]string{"": "1", "A=B": "2"} }), []string{"env", "env"}, "LOG_LEVEL"},
		{"recreate with no CPU to speak of", with(func(u *replace.Update) { u.CPUs = 0.001 }), []string{"cpus"}, "cpus = 0.5"},
		{"recreate with a CPU limit that is no number", with(func(u *replace.Update) { u.CPUs = math.NaN() }), []string{"cpus"}, "cpus = 0.5"},
		{"recreate with too little memory and a broken grace", with(func(u *replace.Update) { u.Memory, u.Grace = 1<<20, seconds(0.5) }), []string{"memory", "grace"}, `"64MiB"`},
		{"scale without a number", &replace.Scale{}, []string{"replicas"}, "replicas = 3"},
		{"scale to nothing", &replace.Scale{Replicas: number(0)}, nil, ""},
		{"scale to less than nothing", &replace.Scale{Replicas: number(-1), Grace: seconds(0.5)}, []string{"replicas", "grace"}, "replicas = 3"},
		{"scale to a slip of the pen", &replace.Scale{Replicas: number(3000)}, []string{"replicas"}, "replicas = 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var keys []string
			var hint string
			for _, e := range flatten(tt.in.Validate()) {
				var pe *faults.ParamError
				if !errors.As(e, &pe) {
					t.Fatalf("%v is no ParamError", e)
				}
				keys = append(keys, pe.Key)
				if hint == "" {
					hint = pe.Hint
				}
			}
			if !slices.Equal(keys, tt.keys) || !strings.Contains(hint, tt.hint) {
				t.Errorf("keys %v, hint %q", keys, hint)
			}
		})
	}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

// scene is a service in a fake world.
type scene struct {
	t   *testing.T
	w   *faulttest.World
	env faults.Env
	was string
}

// play runs a test in a bubble, where time passes at once, with so many containers of service web.
func play(t *testing.T, containers int, change func(*faulttest.Box), test func(*testing.T, scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		boxes := []faulttest.Box{{ID: "db", Name: "db"}}
		for n := 1; n <= containers; n++ {
			b := faulttest.Box{ID: fmt.Sprintf("c%d", n), Name: fmt.Sprintf("web[%d]", n), Environ: []string{"LEVEL=info"}, Command: []string{"serve"}}
			if n == 1 {
				b.Name = "web"
			}
			if change != nil {
				change(&b)
			}
			boxes = append(boxes, b)
		}
		w := faulttest.NewWorld(1, boxes...)
		test(t, scene{t, w, w.Env(&faults.State{}), w.Service("web")})
	})
}

// target is the container of a number as it is now.
func (s scene) target(n int) faults.Target {
	name := "web"
	if n > 1 {
		name = fmt.Sprintf("web[%d]", n)
	}
	return faults.Target{Service: "web", Number: n, Container: s.w.Current(name), Name: name}
}

func (s scene) service() faults.Target {
	return faults.Target{Service: "web", Project: "fake", Name: "web"}
}

// begin prepares, journals and applies.
func (s scene) begin(id string, spec faults.Spec, f faults.Fault, on faults.Target) faults.Record {
	s.t.Helper()
	r, err := f.Prepare(s.t.Context(), s.env, on)
	if err != nil {
		s.t.Fatal(err)
	}
	r.ID = id
	if err := s.apply(spec, r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s scene) apply(spec faults.Spec, r faults.Record) error {
	s.t.Helper()
	if err := s.env.Journal.Intend(r); err != nil {
		s.t.Fatal(err)
	}
	defer s.env.Journal.Lock(r.On.Key())()
	return spec.Effect.Apply(s.t.Context(), s.env, r)
}

func (s scene) confirm(spec faults.Spec, r faults.Record) (faults.Witness, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	return spec.Effect.Confirm(ctx, s.env, r, true)
}

func (s scene) end(spec faults.Spec, r faults.Record) faults.Witness {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	w, err := faults.Undo(ctx, s.env, spec.Effect, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s scene) settled(spec faults.Spec, r faults.Record) bool {
	s.t.Helper()
	settler, ok := spec.Effect.(faults.Settler)
	if !ok {
		s.t.Fatalf("%s is no Settler", spec.Kind)
	}
	done, err := settler.Settled(s.t.Context(), s.env, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (s scene) atBase() {
	s.t.Helper()
	if now := s.w.Service("web"); now != s.was {
		s.t.Errorf("the service is\n%s\nand was\n%s", now, s.was)
	}
}

// debug changes a variable.
func debug() *replace.Recreate {
	return &replace.Recreate{Update: replace.Update{Env: map[string]string{"LEVEL": "debug"}, Grace: seconds(1)}}
}

func TestRemoveLeavesNothingUnderTheNameUntilItEnds(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.RemoveSpec()
		r := s.begin("r", spec, &replace.Remove{DownFor: *seconds(3)}, s.target(1))
		if w, err := s.confirm(spec, r); err != nil || w.Value == 0 {
			t.Errorf("witness %+v, %v", w, err)
		}
		if s.w.Service("web") != "" || !s.settled(spec, r) {
			t.Errorf("there is %q; settled: %t", s.w.Service("web"), s.settled(spec, r))
		}
		if w := s.end(spec, r); !strings.Contains(w.Note, "new container") {
			t.Errorf("witness that it is gone: %+v", w)
		}
		if s.w.Current("web") == "c1" || !s.settled(spec, r) {
			t.Error("there is no new container that is ready")
		}
		s.atBase()
	})
}

func TestRecreateSaysWhatIsOtherwise(t *testing.T) {
	u := replace.Update{
		Image: "web:2", Env: map[string]string{"LEVEL": "debug", "MORE": "1"}, Command: []string{"serve", "-v"},
		Entrypoint: []string{"/run"}, CPUs: 0.5, Memory: 32 << 20,
	}
	play(t, 1, nil, func(t *testing.T, s scene) {
		s.w.AddImage("web:2", "sha256:0123456789abcdef")
		spec := replace.RecreateSpec()
		r := s.begin("r", spec, &replace.Recreate{Update: u}, s.target(1))
		w, err := s.confirm(spec, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"web:2 (0123456789ab)", "LEVEL, MORE", "another command", "another entrypoint", "0.5 CPUs", "32MiB"} {
			if !strings.Contains(w.Note, part) {
				t.Errorf("the witness does not tell %q: %s", part, w.Note)
			}
		}
		if strings.Contains(w.Note, "debug") {
			t.Errorf("the witness tells the value of a variable: %s", w.Note)
		}
		s.end(spec, r)
		s.atBase()
	})
}

func TestAChangeToWhatWasThereHasNoWitness(t *testing.T) {
	for name, u := range map[string]replace.Update{
		"the image":              {Image: "same"},
		"the variable":           {Env: map[string]string{"LEVEL": "info"}},
		"the command":            {Command: []string{"serve"}},
		"the CPU limit":          {CPUs: 1.5},
		"the memory limit":       {Memory: 64 << 20},
		"one of two":             {Memory: 64 << 20, CPUs: 1},
		"a variable beside more": {Env: map[string]string{"LEVEL": "debug"}, Command: []string{"serve"}},
	} {
		t.Run(name, func(t *testing.T) {
			limits := func(b *faulttest.Box) { b.Limits = faults.Limits{NanoCPUs: 15e8, MemoryBytes: 64 << 20} }
			play(t, 1, limits, func(t *testing.T, s scene) {
				s.w.AddImage("same", "sha256:fake")
				spec := replace.RecreateSpec()
				r := s.begin("r", spec, &replace.Recreate{Update: u}, s.target(1))
				if w, err := s.confirm(spec, r); !errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), "had") {
					t.Errorf("witness %+v, %v", w, err)
				}
				s.end(spec, r)
				s.atBase()
			})
		})
	}
}

func TestAnImageThatIsNotThereIsRefusedBeforeAnythingChanges(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		_, err := (&replace.Recreate{Update: replace.Update{Image: "web:9"}}).Prepare(t.Context(), s.env, s.target(1))
		if !errors.Is(err, faults.ErrUnsupported) || !errors.Is(err, faults.ErrNoImage) || !strings.Contains(err.Error(), "docker pull web:9") {
			t.Errorf("prepare: %v", err)
		}
		if s.w.Changes() != 0 {
			t.Errorf("%d changes", s.w.Changes())
		}
	})
}

// kinds are faults of this package on the first container, or its service.
func kinds() []struct {
	spec faults.Spec
	f    faults.Fault
} {
	rolling := &replace.RollingUpdate{Update: debug().Update}
	return []struct {
		spec faults.Spec
		f    faults.Fault
	}{
		{replace.RemoveSpec(), &replace.Remove{}},
		{replace.RecreateSpec(), debug()},
		{replace.RollingUpdateSpec(), rolling},
		{replace.ScaleSpec(), &replace.Scale{Replicas: number(0), Grace: seconds(1)}},
	}
}

func (s scene) of(spec faults.Spec) faults.Target {
	if spec.Whole {
		return s.service()
	}
	return s.target(1)
}

// TestAStopThatIsStillOnItsWayIsNoticed ends the old process, unasked, while the undo of a fault that did not get through
// looks at it.
func TestAStopThatIsStillOnItsWayIsNoticed(t *testing.T) {
	play(t, 1, nil, func(t *testing.T, s scene) {
		spec := replace.RecreateSpec()
		r, err := debug().Prepare(t.Context(), s.env, s.target(1))
		if err != nil {
			t.Fatal(err)
		}
		r.ID = "r"
		s.w.FailNext(1, false, errors.New("connection lost"))
		if err := s.apply(spec, r); err == nil {
			t.Fatal("the apply did not fail")
		}
		go func() {
			time.Sleep(500 * time.Millisecond)
			s.w.Exit("c1", 143)
		}()
		s.end(spec, r)
		if !s.w.State("c1").Running {
			t.Error("the container was left down")
		}
		synctest.Wait()
	})
}
