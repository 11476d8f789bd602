package network_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/faulttest"
	"github.com/discompose/discompose/faults/network"
)

func TestPartitionValidatesItsKeys(t *testing.T) {
	f := &network.Partition{Against: network.Names{}, Direction: "up", Action: "lose"}
	err := f.Validate()
	for _, key := range []string{"against", "direction", "action"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("nothing about %s in: %v", key, err)
		}
	}
	f = &network.Partition{}
	for _, d := range append(faulttest.Enum(t, f, "direction"), "") {
		for _, a := range append(faulttest.Enum(t, f, "action"), "") {
			if f.Direction, f.Action = d, a; f.Validate() != nil {
				t.Errorf("the documented direction %q and action %q are refused", d, a)
			}
		}
	}
}

func TestAgainstIsOneNameOrAList(t *testing.T) {
	for text, want := range map[string][]string{`against = "db"`: {"db"}, `against = ["db", "probes"]`: {"db", "probes"}, `against = 3`: nil, `against = [3]`: nil} {
		var f network.Partition
		_, err := toml.Decode(text, &f)
		if (err == nil) != (want != nil) || (err == nil && !slices.Equal(f.Services()["against"], want)) {
			t.Errorf("%s: %v, %v", text, f.Services(), err)
		}
	}
	if got := (&network.Partition{}).Services(); len(got) != 0 {
		t.Errorf("without against it names %v", got)
	}
}

func TestPartitionCutsTheDirection(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    network.Partition
		call string
		note string
	}{
		{"everything by default", network.Partition{}, "cut p in=true out=true reject=false [*]", "cut off from cache and db: none of 12 datagrams arrived, and the cut counted 12 packets"},
		{"from", network.Partition{Against: network.Names{"db"}, Direction: "from"}, "cut p in=false out=true reject=false [db]", "from db in the direction from web, and in no other: none of 3"},
		{"to, rejected", network.Partition{Against: network.Names{"c*"}, Direction: "to", Action: "reject"}, "cut p in=true out=false reject=true [c*]", "from cache in the direction to web, and in no other: none of 3"},
	} {
		bubble(t, tt.name, func(s scene) {
			spec := network.PartitionSpec()
			r := s.begin("p", spec, &tt.f, "web")
			if !slices.Equal(s.w.calls, []string{tt.call}) {
				s.t.Errorf("calls are %q", s.w.calls)
			}
			if w, err := s.confirm(spec, r); err != nil || !strings.Contains(w.Note, tt.note) {
				s.t.Errorf("witness %q, %v", w.Note, err)
			}
			if w := s.end(spec, r); w.Value == 0 || !strings.Contains(w.Note, "arrived") {
				s.t.Errorf("gone: %+v", w)
			}
		})
	}
}

func TestPartitionNeedsSomebodyToCutOff(t *testing.T) {
	for _, tt := range []struct {
		name    string
		against string
		change  func(s scene)
		refused string // "" where it is prepared
	}{
		{"nobody of that name", "probes", nil, "no container of probes is running"},
		{"no network in common", "lone", nil, "web shares no network with lone"},
		{"a peer that never answers", "db", func(s scene) { s.w.lost = func(string, string) int { return volley } }, "between web and db do not arrive"},
		{"a peer that never answers in one direction", "db", func(s scene) {
			s.w.lost = func(from, _ string) int {
				if from == "db" {
					return volley
				}
				return 0
			}
		}, "between web and db do not arrive"},
		{"a target that is down", "db", func(s scene) { s.w.boxes["web"].down = true }, "not running"},
		{"a target that a fault keeps down", "db", func(s scene) {
			s.w.boxes["web"].down = true
			s.other("stop", "web")
		}, ""},
		{"a target that a fault keeps out of its networks", "db", func(s scene) { s.begin("d", network.DisconnectSpec(), &network.Disconnect{}, "web") }, ""},
		{"a peer that a fault keeps out of its networks", "db", func(s scene) { s.begin("d", network.DisconnectSpec(), &network.Disconnect{}, "db") }, ""},
		{"a peer that another partition keeps away", "db", func(s scene) { s.begin("p", network.PartitionSpec(), &network.Partition{}, "db") }, ""},
	} {
		bubble(t, tt.name, func(s scene) {
			if tt.change != nil {
				tt.change(s)
			}
			_, err := (&network.Partition{Against: network.Names{tt.against}}).Prepare(s.t.Context(), s.env, target("web"))
			if tt.refused == "" && err != nil || tt.refused != "" && (!errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), tt.refused)) {
				s.t.Errorf("prepare: %v", err)
			}
		})
	}
}

func TestPartitionOfNothing(t *testing.T) {
	bubble(t, "there is no agent", func(s scene) {
		s.env.Host = nil
		if _, err := (&network.Partition{}).Prepare(s.t.Context(), s.env, target("web")); !errors.Is(err, faults.ErrUnsupported) || !strings.Contains(err.Error(), "needs the agent") {
			s.t.Errorf("prepare: %v", err)
		}
	})
	bubble(t, "the container is gone", func(s scene) {
		if _, err := (&network.Partition{}).Prepare(s.t.Context(), s.env, target("none")); !errors.Is(err, faults.ErrGone) {
			s.t.Errorf("prepare: %v", err)
		}
	})
}

func TestPrepareWaitsForAnotherFaultToEnd(t *testing.T) {
	for _, f := range []faults.Fault{&network.Partition{}, &network.Disconnect{Network: "front"}} {
		bubble(t, "prepare", func(s scene) {
			spec := network.DisconnectSpec()
			r := s.begin("d", spec, &network.Disconnect{}, "web")
			// What Undo does, with the engine busy for a while between the two.
			if err := s.state.Release(r); err != nil {
				s.t.Fatal(err)
			}
			reverted := make(chan error, 1)
			time.AfterFunc(300*time.Millisecond, func() { reverted <- spec.Effect.Revert(s.t.Context(), s.env, r) })
			if _, err := f.Prepare(s.t.Context(), s.env, target("web")); err != nil {
				s.t.Errorf("prepare: %v", err)
			}
			if err := <-reverted; err != nil {
				s.t.Fatal(err)
			}
		})
	}
}

func TestPartitionIsMeasured(t *testing.T) {
	spec := network.PartitionSpec()
	for _, tt := range []struct {
		name   string
		f      network.Partition
		change func(s scene)
		why    string // "" where there is a witness
	}{
		{"packets to the target get through", network.Partition{}, func(s scene) { s.w.leaky = "in" }, "to web arrived"},
		{"packets from the target get through", network.Partition{}, func(s scene) { s.w.leaky = "out" }, "from web to"},
		{"nothing is counted", network.Partition{}, func(s scene) { s.w.uncounted = true }, "stopped 0 packets"},
		{"there is no cut", network.Partition{}, func(s scene) { delete(s.w.cuts, "p") }, "no cut"},
		{"another one's cut is none", network.Partition{}, func(s scene) {
			s.begin("q", spec, &network.Partition{}, "web")
			delete(s.w.cuts, "p")
		}, "no cut"},
		{"the other direction is lost too", network.Partition{Direction: "to"}, func(s scene) {
			s.w.lost = func(from, _ string) int {
				if from == "web" {
					return volley
				}
				return 0
			}
		}, "that direction is not cut"},
		{"the other direction is another one's", network.Partition{Direction: "to"}, func(s scene) {
			s.begin("q", spec, &network.Partition{Direction: "from"}, "web")
		}, ""},
		{"the same packets are another one's too", network.Partition{}, func(s scene) { s.begin("q", spec, &network.Partition{}, "web") }, ""},
		{"one peer is down", network.Partition{}, func(s scene) { s.w.boxes["db"].down = true }, ""},
		{"every peer is down", network.Partition{Against: network.Names{"db"}}, func(s scene) { s.w.boxes["db"].down = true }, "sent between web and db: they are down"},
		{"the target is down", network.Partition{}, func(s scene) { s.w.boxes["web"].down = true }, "sent between web and cache and db: they"},
	} {
		bubble(t, tt.name, func(s scene) {
			r := s.begin("p", spec, &tt.f, "web")
			tt.change(s)
			w, err := s.confirm(spec, r)
			if tt.why == "" && (err != nil || w.Note == "") {
				s.t.Errorf("no witness: %v", err)
			}
			if tt.why != "" && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), tt.why)) {
				s.t.Errorf("witness %q, error %v", w.Note, err)
			}
		})
	}
}

func TestPartitionIsGoneWhenDatagramsArrive(t *testing.T) {
	spec := network.PartitionSpec()
	for _, tt := range []struct {
		name   string
		change func(s scene)
		why    string // of the refusal; "" where it is gone
		note   string
	}{
		{"the cut is still there", func(s scene) { s.w.cuts["p"] = &cut{count: faults.CutCount{Active: true}} }, "still keeps", ""},
		{"nothing arrives", func(s scene) { s.w.lost = func(string, string) int { return volley } }, "0 of 3 datagrams between web and", ""},
		{"not all arrive", func(s scene) { s.w.lost = func(string, string) int { return 1 } }, "2 of 3 datagrams", ""},
		{"another cut is active on the target", func(s scene) { s.begin("q", spec, &network.Partition{}, "web") }, "", "is gone; q still stops some"},
		{"another cut is active on a peer", func(s scene) { s.begin("q", spec, &network.Partition{Against: network.Names{"web"}}, "db") }, "", "6 datagrams between it and its peers arrived; q still stops"},
		{"a peer is down", func(s scene) { s.w.boxes["db"].down = true }, "", "6 datagrams"},
		{"the target is down", func(s scene) { s.w.boxes["web"].down = true }, "", "no datagram could be sent"},
		{"the target is removed", func(s scene) { delete(s.w.boxes, "web") }, "", "container of web is gone"},
	} {
		bubble(t, tt.name, func(s scene) {
			r := s.begin("p", spec, &network.Partition{}, "web")
			for range 2 {
				if err := spec.Effect.Revert(s.t.Context(), s.env, r); err != nil {
					s.t.Fatal(err)
				}
			}
			tt.change(s)
			w, err := s.gone(spec, r)
			switch {
			case tt.why == "" && (err != nil || !strings.Contains(w.Note, tt.note)):
				s.t.Errorf("witness %q, error %v", w.Note, err)
			case tt.why != "" && (!errors.Is(err, faults.ErrNoWitness) || !strings.Contains(err.Error(), tt.why)):
				s.t.Errorf("witness %q, error %v", w.Note, err)
			}
		})
	}
}

func TestPartitionThatWasNotTriedBeforeIsNotGoneUntried(t *testing.T) {
	bubble(t, "prepared while the target was out of its networks", func(s scene) {
		out := s.begin("d", network.DisconnectSpec(), &network.Disconnect{}, "web")
		spec := network.PartitionSpec()
		r := s.begin("p", spec, &network.Partition{Against: network.Names{"db"}}, "web")
		if w, err := s.confirm(spec, r); !errors.Is(err, faults.ErrNoWitness) {
			s.t.Errorf("out of its networks, the witness is %q, %v", w.Note, err)
		}
		s.end(network.DisconnectSpec(), out)
		if _, err := s.confirm(spec, r); err != nil {
			s.t.Error(err)
		}
		if err := spec.Effect.Revert(s.t.Context(), s.env, r); err != nil {
			s.t.Fatal(err)
		}
		s.w.lost = func(string, string) int { return volley }
		if w, err := s.gone(spec, r); !errors.Is(err, faults.ErrNoWitness) {
			s.t.Errorf("nothing arrives, and it is gone: %q, %v", w.Note, err)
		}
		s.w.lost = func(string, string) int { return 1 }
		if _, err := s.gone(spec, r); err != nil {
			s.t.Error(err)
		}
	})
}

func TestPartitionEndsWithTheAgent(t *testing.T) {
	bubble(t, "no agent", func(s scene) {
		spec := network.PartitionSpec()
		r := s.begin("p", spec, &network.Partition{}, "web")
		s.env.Host = nil
		if w := s.end(spec, r); !strings.Contains(w.Note, "no agent") {
			s.t.Errorf("gone: %+v", w)
		}
		if err := spec.Effect.Apply(s.t.Context(), s.env, r); !errors.Is(err, faults.ErrUnsupported) {
			s.t.Errorf("apply without an agent: %v", err)
		}
	})
}
