package network_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/network"
)

func (s scene) networks() []string {
	s.t.Helper()
	eps, err := s.w.Endpoints(s.t.Context(), "web")
	if err != nil {
		s.t.Fatal(err)
	}
	out := []string{}
	for _, e := range eps {
		out = append(out, fmt.Sprintf("%s %v %v", e.Key, e.Aliases, e.Addresses))
	}
	return out
}

func TestDisconnectFindsTheNetwork(t *testing.T) {
	for _, tt := range []struct {
		network string
		left    []string
	}{
		{"front", []string{"back [web] [10.0.4.2]"}},
		{"shop_front", []string{"back [web] [10.0.4.2]"}},
		{"", []string{}},
	} {
		bubble(t, "network "+tt.network, func(s scene) {
			spec := network.DisconnectSpec()
			before := s.networks()
			r := s.begin("d", spec, &network.Disconnect{Network: tt.network}, "web")
			if got := s.networks(); !slices.Equal(got, tt.left) {
				s.t.Errorf("it is in %v", got)
			}
			if w, err := s.confirm(spec, r); err != nil || !strings.Contains(w.Note, "datagrams from cache") {
				s.t.Errorf("witness %q, %v", w.Note, err)
			}
			s.end(spec, r)
			if diff := cmp.Diff(before, s.networks()); diff != "" {
				s.t.Error(diff)
			}
			if !slices.Contains(s.w.calls, `+ web id-front {"of":"front"}`) {
				s.t.Errorf("the engine's own settings are not given back: %q", s.w.calls)
			}
		})
	}
}

func TestDisconnectIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, network, why string
		change             func(w *world)
		is                 error
	}{
		{"a network that it is not in", "frnt", `not in network "frnt", but in shop_back and shop_front`, nil, faults.ErrUnsupported},
		{"no network at all", "", "in no network", func(w *world) { clear(w.boxes["web"].networks) }, faults.ErrUnsupported},
		{"somebody else's network", "", "network_mode host", func(w *world) {
			w.boxes["web"].own = fmt.Errorf("%w: network_mode host", faults.ErrUnsupported)
		}, faults.ErrUnsupported},
		{"down", "", "not running", func(w *world) { w.boxes["web"].down = true }, faults.ErrUnsupported},
		{"gone", "", "web", func(w *world) { delete(w.boxes, "web") }, faults.ErrGone},
	} {
		bubble(t, tt.name, func(s scene) {
			if tt.change != nil {
				tt.change(s.w)
			}
			_, err := (&network.Disconnect{Network: tt.network}).Prepare(s.t.Context(), s.env, target("web"))
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.why) {
				s.t.Errorf("prepare: %v", err)
			}
		})
	}
	bubble(t, "out by somebody else", func(s scene) {
		s.end(network.DisconnectSpec(), s.begin("d", network.DisconnectSpec(), &network.Disconnect{}, "web"))
		delete(s.w.boxes["web"].networks, "id-front")
		if _, err := (&network.Disconnect{}).Prepare(s.t.Context(), s.env, target("web")); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "not by discompose") {
			s.t.Errorf("prepare: %v", err)
		}
	})
	bubble(t, "an engine that cannot", func(s scene) {
		s.env.Engine = struct{ faults.Engine }{s.w}
		if _, err := (&network.Disconnect{}).Prepare(s.t.Context(), s.env, target("web")); !errors.Is(err, faults.ErrUnsupported) {
			s.t.Errorf("prepare: %v", err)
		}
	})
}

func TestDisconnectsOverlap(t *testing.T) { //nolint:gocognit // one table of cases, read from the top
	spec := network.DisconnectSpec()
	steps := map[string]func(s scene, r map[string]faults.Record){}
	for id, f := range map[string]*network.Disconnect{"all": {}, "one": {Network: "front"}} {
		steps["+"+id] = func(s scene, r map[string]faults.Record) { r[id] = s.begin(id, spec, f, "web") }
		steps["-"+id] = func(s scene, r map[string]faults.Record) {
			s.t.Helper()
			w := s.end(spec, r[id])
			left := len(s.state.Active("web"))
			if stays := strings.Contains(w.Note, "stays out of shop_front"); stays != (left == 1) {
				s.t.Errorf("%d are active and the witness of the end of %s is %q", left, id, w.Note)
			}
		}
	}
	for _, order := range [][]string{
		{"+all", "+one", "-all", "-one"},
		{"+all", "+one", "-one", "-all"},
		{"+one", "+all", "-all", "-one"},
		{"+one", "+all", "-one", "-all"},
	} {
		bubble(t, strings.Join(order, " "), func(s scene) {
			before, records := s.networks(), map[string]faults.Record{}
			for _, step := range order {
				steps[step](s, records)
				want := before
				for _, a := range s.state.Active("web") {
					if a.ID == "all" {
						want = nil
						break
					}
					want = before[:1] // back
				}
				if got := s.networks(); !slices.Equal(got, want) {
					s.t.Errorf("after %s it is in %v, not %v", step, got, want)
				}
			}
		})
	}
}

func TestDisconnectIsMeasured(t *testing.T) {
	spec := network.DisconnectSpec()
	for _, tt := range []struct {
		name   string
		change func(s scene)
		why    string // "" where there is a witness
	}{
		{"the engine put it back", func(s scene) {
			s.w.boxes["web"].networks["id-front"] = faults.Endpoint{Network: "id-front", Name: "shop_front"}
		}, "is in shop_front"},
		{"it is still reached", func(s scene) { s.w.stuck = true }, "datagrams from cache arrived"},
		{"the target is down", func(s scene) { s.w.boxes["web"].down = true }, "not running"},
		{"the peers are down", func(s scene) { s.w.boxes["db"].down, s.w.boxes["cache"].down = true, true }, "none of the peers"},
		{"one peer is down", func(s scene) { s.w.boxes["db"].down = true }, ""},
	} {
		bubble(t, tt.name, func(s scene) {
			r := s.begin("d", spec, &network.Disconnect{}, "web")
			tt.change(s)
			w, err := s.confirm(spec, r)
			if tt.why == "" && err != nil {
				s.t.Errorf("no witness: %v", err)
			}
			if tt.why != "" && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), tt.why)) {
				s.t.Errorf("witness %q, error %v", w.Note, err)
			}
		})
	}
	bubble(t, "a reverted one while another is active", func(s scene) {
		r := s.begin("d", spec, &network.Disconnect{}, "web")
		s.begin("e", spec, &network.Disconnect{}, "web")
		s.end(spec, r)
		if w, err := s.confirm(spec, r); !errors.Is(err, faults.ErrNoWitness) {
			s.t.Errorf("witness %q, error %v", w.Note, err)
		}
	})
}

func TestDisconnectSaysWhatCannotBeMeasured(t *testing.T) {
	spec := network.DisconnectSpec()
	for name, tt := range map[string]struct {
		on, note string
		change   func(s *scene)
	}{
		"no agent": {"web", "without the agent", func(s *scene) { s.env.Host = nil }},
		"no peer":  {"lone", "nobody in them", func(*scene) {}},
	} {
		bubble(t, name, func(s scene) {
			tt.change(&s)
			r := s.begin("d", spec, &network.Disconnect{}, tt.on)
			if w, err := s.confirm(spec, r); err != nil || !strings.Contains(w.Note, tt.note) {
				s.t.Errorf("witness %q, %v", w.Note, err)
			}
			s.end(spec, r)
		})
	}
}

func TestDisconnectIsGoneWhenAllIsAsBefore(t *testing.T) {
	spec := network.DisconnectSpec()
	for _, tt := range []struct {
		name      string
		change    func(s scene) // before the revert
		why, note string
	}{
		{"nothing special", func(scene) {}, "", "web is back in shop_back and shop_front, and 6 of 6 datagrams from its peers arrived"},
		{"another address", func(s scene) { s.w.moved = "10.9.9.9" }, "", "in shop_front it has 10.9.9.9 now and had 10.0.5.2 before"},
		{"no aliases", func(s scene) { s.w.bare = true }, "aliases", ""},
		{"nobody reaches it", func(s scene) { s.w.lost = func(string, string) int { return volley } }, "no datagram from cache", ""},
		{"a cut keeps them away", func(s scene) {
			s.w.cuts["c"] = &cut{Cut: faults.Cut{Container: "web", Against: []string{"*"}, In: true}}
		}, "", "0 of 6"},
		{"the target is down", func(s scene) { s.w.boxes["web"].down = true }, "", "is back in"},
		{"the container is gone", func(s scene) { delete(s.w.boxes, "web") }, "", "is gone"},
		{"the engine put it back bare", func(s scene) {
			s.w.boxes["web"].networks["id-back"] = faults.Endpoint{Network: "id-back", Name: "shop_back", Key: "back", Addresses: []string{"10.0.4.2"}}
		}, "", "is back in"},
	} {
		bubble(t, tt.name, func(s scene) {
			r := s.begin("d", spec, &network.Disconnect{}, "web")
			tt.change(s)
			for range 2 {
				if err := spec.Effect.Revert(s.t.Context(), s.env, r); err != nil {
					s.t.Fatal(err)
				}
			}
			w, err := s.gone(spec, r)
			switch {
			case tt.why == "" && (err != nil || !strings.Contains(w.Note, tt.note)):
				s.t.Errorf("witness %q, error %v", w.Note, err)
			case tt.why != "" && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), tt.why)):
				s.t.Errorf("witness %q, error %v", w.Note, err)
			}
		})
	}
	bubble(t, "no revert", func(s scene) {
		for n, e := range s.w.boxes["web"].networks {
			e.Aliases = nil
			s.w.boxes["web"].networks[n] = e
		}
		r := s.begin("d", spec, &network.Disconnect{}, "web")
		if w, err := s.gone(spec, r); !errors.Is(err, faults.ErrNoWitness) {
			s.t.Errorf("witness %q, error %v", w.Note, err)
		}
	})
}

func TestDisconnectGivesBackItsOwnNetworksOnly(t *testing.T) {
	bubble(t, "somebody else takes it out of the other one", func(s scene) {
		spec := network.DisconnectSpec()
		r := s.begin("d", spec, &network.Disconnect{Network: "front"}, "web")
		delete(s.w.boxes["web"].networks, "id-back")
		s.end(spec, r)
		if got, want := s.networks(), []string{"front [web] [10.0.5.2]"}; !slices.Equal(got, want) {
			s.t.Errorf("it is in %v", got)
		}
	})
}

func TestAnotherProcessConnectsAgain(t *testing.T) {
	bubble(t, "from the journal's lines", func(s scene) {
		var lines [][]byte
		s.state.Commit = func(e faults.Entry) error {
			line, err := json.Marshal(e)
			lines = append(lines, line)
			return err
		}
		before := s.networks()
		s.begin("d", network.DisconnectSpec(), &network.Disconnect{}, "web")
		s.begin("p", network.PartitionSpec(), &network.Partition{}, "db")
		state := &faults.State{}
		for _, line := range lines {
			var e faults.Entry
			if err := json.Unmarshal(line, &e); err != nil {
				s.t.Fatal(err)
			}
			if err := state.Replay(e); err != nil {
				s.t.Fatal(err)
			}
		}
		env := s.w.env(state)
		env.Host = nil // it ended with the first process, and its cuts too
		clear(s.w.cuts)
		effects := map[faults.Kind]faults.Effect{"disconnect": network.DisconnectSpec().Effect, "partition": network.PartitionSpec().Effect}
		healed, err := faults.Heal(context.WithoutCancel(s.t.Context()), env, state.Owed(), func(k faults.Kind) (faults.Effect, faults.Family, bool) {
			return effects[k], faults.Network, effects[k] != nil
		})
		if err != nil || len(healed) != 2 {
			s.t.Errorf("healed %d: %v", len(healed), err)
		}
		if diff := cmp.Diff(before, s.networks()); diff != "" {
			s.t.Error(diff)
		}
	})
}
