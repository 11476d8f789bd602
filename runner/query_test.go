package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

// led is an injection on the leader of three brokers.
func (s *stage) led(q scenarios.Query) Injection {
	in := s.noting("kill").injection("kill", 5*time.Second, false)
	in.Fault.Pick, in.Fault.Query = "leader", &q
	in.Targets = []scenarios.Ref{{Service: "kafka1", Number: 1}, {Service: "kafka2", Number: 1}, {Service: "kafka2", Number: 2}}
	return in
}

// answers makes the candidates answer, each by its name and number; the others cannot be asked.
func (s *stage) answers(by map[string]string) {
	s.exec = func(_ context.Context, ref scenarios.Ref, argv []string) (string, int, error) {
		s.note("%s in %s-%d", strings.Join(argv, " "), ref.Service, ref.Number)
		out, ok := by[fmt.Sprintf("%s-%d", ref.Service, ref.Number)]
		if !ok {
			return "", 0, errors.New("it is not running")
		}
		return out, 0, nil
	}
}

func TestTheTargetIsAskedForWhenTheFaultIsDue(t *testing.T) {
	for _, c := range []struct {
		name    string
		query   scenarios.Query
		answers map[string]string
		record  string
		target  string
		log     []string
	}{
		{
			"named by the first that answers",
			scenarios.Query{Exec: []string{"who"}, Matches: `Leader: (\d)\.(\d)`, Service: "kafka$1[$2]"},
			map[string]string{"kafka2-1": "Leader: 2.2", "kafka2-2": "Leader: 1.1"},
			"kill/kafka2-2", "kafka2[2]",
			[]string{"who in kafka1-1", "who in kafka2-1", "apply kill on kafka2[2]", "revert kill on kafka2[2]"},
		},
		{
			"the one that says that it leads",
			scenarios.Query{Exec: []string{"role"}, Matches: "^master"},
			map[string]string{"kafka1-1": "slave", "kafka2-1": "master", "kafka2-2": "master"},
			"kill/kafka2-1", "kafka2",
			[]string{"role in kafka1-1", "role in kafka2-1", "apply kill on kafka2", "revert kill on kafka2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				s.answers(c.answers)
				if err := s.play(t.Context(), s.led(c.query)); err != nil {
					t.Fatal(err)
				}
				s.want(c.log...)
				all := s.faultsByRecord()
				if f := all[c.record]; len(all) != 1 || f.Target != c.target || f.Called != 5000 || f.Error != "" {
					t.Errorf("recorded: %+v", all)
				}
				if events := s.announced(); len(events) != 1 || !strings.Contains(events[0], "note: kill: the leader is "+c.target+", as ") {
					t.Errorf("events: %v", events)
				}
			})
		})
	}
}

// chosen is an injection on what a pick means, of three brokers.
func (s *stage) chosen(pick string, q scenarios.Query) Injection {
	in := s.led(q)
	in.Fault.Pick = pick
	return in
}

func TestAFollowerIsTheFirstInTheSeedsOrderThatDoesNotLead(t *testing.T) {
	for _, c := range []struct{ name, leader, follower string }{
		{"the first leads", "1.1", "kafka2"},
		{"another leads", "2.2", "kafka1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				s.answers(map[string]string{"kafka2-1": "Leader: " + c.leader})
				in := s.chosen("follower", scenarios.Query{Exec: []string{"who"}, Matches: `Leader: (\d)\.(\d)`, Service: "kafka$1[$2]"})
				if err := s.play(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				s.want("who in kafka1-1", "who in kafka2-1", "apply kill on "+c.follower, "revert kill on "+c.follower)
				if events := s.announced(); len(events) != 1 || !strings.Contains(events[0], "kill: the follower is "+c.follower+", for ") {
					t.Errorf("events: %v", events)
				}
			})
		})
	}
}

// appliedTo lists the targets on which a fake was applied, sorted.
func (s *stage) appliedTo(name string) []string {
	var out []string
	for _, line := range s.log {
		if on, ok := strings.CutPrefix(line, "apply "+name+" on "); ok {
			out = append(out, on)
		}
	}
	slices.Sort(out)
	return out
}

func TestAQueryNamesEveryTarget(t *testing.T) {
	for _, c := range []struct {
		name    string
		query   scenarios.Query
		answers map[string]string
		want    []string // which targets, in order
		event   string
	}{
		{
			"that a match names",
			scenarios.Query{Exec: []string{"isr"}, Matches: `(\d)\.(\d)`, Service: "kafka$1[$2]"},
			map[string]string{"kafka2-1": "Isr: 2.2, 9.9, 1.1, 2.2"},
			[]string{"kafka1", "kafka2[2]"},
			"the query names kafka1, kafka2[2], as kafka2 says",
		},
		{
			"in which it holds",
			scenarios.Query{Exec: []string{"role"}, Matches: "^slave"},
			map[string]string{"kafka1-1": "slave", "kafka2-1": "master", "kafka2-2": "slave"},
			[]string{"kafka1", "kafka2[2]"},
			"the query holds in kafka1, kafka2[2]",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				s.answers(c.answers)
				if err := s.play(t.Context(), s.chosen("query", c.query)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, s.appliedTo("kill")); diff != "" {
					t.Errorf("applied to (-want +got):\n%s", diff)
				}
				if events := s.announced(); len(events) != 1 || !strings.Contains(events[0], c.event) {
					t.Errorf("events: %v", events)
				}
			})
		})
	}
}

func TestAQueryThatNamesNobodyIsRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		pick, service, want string
	}{
		"no match is a target":  {"query", "broker$0", "find the targets for kill: no answer that names one within 30s\nkafka2[2]: no match in its answer names one of the targets"},
		"it holds in none":      {"query", "", "find the targets for kill: no answer that names one within 30s\nkafka2[2]: output does not match 4"},
		"the only one leads":    {"follower", "", "find the follower for kill: no answer that names one within 30s\nkafka1 is the only target, so it has no follower"},
		"nobody says who leads": {"follower", "$0", "find the follower for kill: no answer that names one within 30s\nkafka2[2]: output does not match 4"},
	} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(t *testing.T, s *stage) {
				answer := "3"
				in := s.chosen(c.pick, scenarios.Query{Exec: []string{"who"}, Matches: "4", Service: c.service})
				if name == "the only one leads" {
					in.Targets, answer = in.Targets[:1], "4"
				}
				if name == "no match is a target" {
					answer = "4"
				}
				s.exec = func(ctx context.Context, _ scenarios.Ref, _ []string) (string, int, error) {
					return answer, 0, sleep(ctx, 10*time.Millisecond)
				}
				if err := s.play(t.Context(), in); err != nil {
					t.Errorf("it is the judge's to say: %v", err)
				}
				s.want()
				f := s.faultsByRecord()["kill/"+c.pick]
				if got := strings.Replace(f.Error, "kafka1: kafka1 is", "kafka1 is", 1); got != c.want || f.Called != 0 || f.Target != c.pick {
					t.Errorf("recorded: %+v\n%s", f, cmp.Diff(c.want, got))
				}
			})
		})
	}
}

// TestAQueryIsAskedUntilThereIsALeader: an election of 3 s, and a stranger that leads for a while. The fault is then late,
// and planned for the instant at which the answer came.
func TestAQueryIsAskedUntilThereIsALeader(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.exec = func(context.Context, scenarios.Ref, []string) (string, int, error) {
			switch ms := (s.r.clock.now() - s.base) / int64(time.Millisecond); {
			case ms < 6000:
				return "Leader: none", 0, nil
			case ms < 8000:
				return "Leader: 3", 0, nil
			}
			return "Leader: 2", 0, nil
		}
		if err := s.play(t.Context(), s.led(scenarios.Query{Exec: []string{"who"}, Matches: `Leader: (\d)`, Service: "kafka$1"})); err != nil {
			t.Fatal(err)
		}
		if f := s.faultsByRecord()["kill/kafka2-1"]; f.Called < 8000 || f.Called > 8300 || f.Planned != f.Called {
			t.Errorf("recorded: %+v", f)
		}
	})
}

func TestAFaultWithoutALeaderIsRecordedAndNotApplied(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.exec = func(ctx context.Context, _ scenarios.Ref, _ []string) (string, int, error) {
			return "Leader: 3", 0, sleep(ctx, 10*time.Millisecond) // so that the time ends in the pause after a round
		}
		next := s.noting("next").injection("next", 0, false)
		next.After = "kill"
		q := scenarios.Query{Exec: []string{"who"}, Matches: `Leader: (\d)`, Service: "kafka$1"}
		if err := s.play(t.Context(), s.led(q), next); err != nil {
			t.Errorf("it is the judge's to say: %v", err)
		}
		s.want("apply next on web", "revert next on web")
		want := "find the leader for kill: no answer that names one within 30s\nkafka2[2]: \"kafka3\" is none of the targets"
		f := s.faultsByRecord()["kill/leader"]
		if diff := cmp.Diff(want, f.Error); diff != "" || f.Called != 0 || f.ID != "kill" {
			t.Errorf("recorded: %+v\n%s", f, diff)
		}
	})
}

func TestAnInterruptEndsTheSearchForALeader(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.exec = func(ctx context.Context, _ scenarios.Ref, _ []string) (string, int, error) {
			cancel(ErrInterrupted)
			<-ctx.Done()
			return "", 0, context.Cause(ctx)
		}
		if err := s.play(ctx, s.led(scenarios.Query{Exec: []string{"who"}})); !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v, want the cause", err)
		}
		if all := s.faultsByRecord(); len(all) > 0 {
			t.Errorf("recorded: %+v", all)
		}
	})
}
