package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/runner"
)

// sharing reads "a:web b c:kafka d:web": scenarios by name, and the environment that they may share.
func sharing(text string) []given {
	var out []given
	for part := range strings.FieldsSeq(text) {
		name, key, _ := strings.Cut(part, ":")
		out = append(out, given{Scenario: scenario(name, nil), environment: key})
	}
	return out
}

func TestScenariosThatMayShareAnEnvironmentArePutTogether(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a:web b:kafka c:web d:kafka": "a c b d",
		"a b c":                       "a b c",
		"a:web b c:web d e:web":       "a c e b d",
		"a b:web c d:kafka e:web":     "a b e c d",
	} {
		var got []string
		for _, g := range together(sharing(text)) {
			got = append(got, g.Name)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: %s, want %s", text, g, want)
		}
	}
}

// TestALaneClaimsTheNextJobOfItsEnvironment has one lane with the environment web and asks what it may run on it next.
func TestALaneClaimsTheNextJobOfItsEnvironment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		jobs, key string
		free      bool
		want      string // empty: none
		then      string // what any lane takes after that
	}{
		"the next, where it shares":                {"a:web b:kafka", "web", false, "a", "b"},
		"not past the user's order":                {"a:kafka b:web", "web", false, "", "a"},
		"past an order that nobody asked for":      {"a:kafka b:web", "web", true, "b", "a"},
		"none of another environment":              {"a:kafka b", "web", true, "", "a"},
		"none by one that wants its own to itself": {"a b", "", true, "", "a"},
		"none where nothing is left":               {"", "web", true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := jobs(sharing(c.jobs), 1, nil)
			s := newSchedule(all, make([]ending, len(all)), c.free)
			named := func(i int, ok bool) string {
				if !ok {
					return ""
				}
				return all[i].Name
			}
			got := named(s.claim(c.key))
			then := named(s.next())
			if got != c.want || then != c.then {
				t.Errorf("claimed %q, then %q; want %q, then %q", got, then, c.want, c.then)
			}
		})
	}
}

func TestEachJobIsHandedOutOnceToAnyLane(t *testing.T) {
	t.Parallel()
	all := jobs(sharing(strings.Repeat("a:web b ", 50)), 3, func() int64 { return 7 })
	done := make([]ending, len(all))
	done[5].begun = true // passed before
	s := newSchedule(all, done, true)
	var mu sync.Mutex
	got := map[int]int{}
	var lanes sync.WaitGroup
	for range 8 {
		lanes.Go(func() {
			for {
				i, ok := s.claim("web")
				if !ok {
					if i, ok = s.next(); !ok {
						return
					}
				}
				mu.Lock()
				got[i]++
				mu.Unlock()
			}
		})
	}
	lanes.Wait()
	want := map[int]int{}
	for i := range all {
		if i != 5 {
			want[i] = 1
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHowManyRunsGoOnAtATime(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	four := []int64{gib, 2 * gib, gib, gib}
	for name, c := range map[string]struct {
		b    bound
		n    int
		says string
	}{
		"as many as are asked for":                    {bound{asked: parallel{n: 2}, cores: 4, free: 16 * gib, need: four}, 2, "as asked"},
		"more than there are cores only by number":    {bound{asked: parallel{n: 4}, cores: 2, free: 16 * gib, need: four}, 4, "as asked, though the engine's host has 2 cores"},
		"never more than two for each core":           {bound{asked: parallel{n: 4}, cores: 1, free: 16 * gib, need: four}, 2, "not 4: the engine's host has 1 core, and more than 2 runs for each would be in each other's way"},
		"auto is as many as there are cores":          {bound{asked: parallel{auto: true}, cores: 3, free: 16 * gib, need: four}, 3, "the engine's host has 3 cores"},
		"auto without an engine is one":               {bound{asked: parallel{auto: true}, need: four}, 1, "it is not known how many cores"},
		"no more than there are runs":                 {bound{asked: parallel{n: 8}, cores: 8, free: 64 * gib, need: four}, 4, "there are no more runs"},
		"memory lowers it, by the largest":            {bound{asked: parallel{n: 3}, cores: 4, free: 3*gib + 1, need: four}, 2, "not 3: the largest 3 may need 4.0 GiB of memory together, and the engine's host has 3.0 GiB left"},
		"memory lowers auto too":                      {bound{asked: parallel{auto: true}, cores: 4, free: 2 * gib, need: four}, 1, "not 4: the largest 4 may need 5.0 GiB"},
		"one run goes on however little there is":     {bound{asked: parallel{n: 2}, cores: 4, free: 1, need: four}, 1, "not 2: the largest 2 may need 3.0 GiB"},
		"memory that is not known lowers nothing":     {bound{asked: parallel{n: 2}, cores: 4, need: four}, 2, "as asked"},
		"an environment of unknown size fits exactly": {bound{asked: parallel{n: 2}, cores: 2, free: 2 * gib, need: []int64{gib, gib}}, 2, "as asked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n, why := c.b.decide(); n != c.n || !strings.HasPrefix(why, c.says) {
				t.Errorf("%d, because %s; want %d, because %s", n, why, c.n, c.says)
			}
		})
	}
}

func TestRunsAtTheSameTimeDoNotTalkIntoEachOther(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	c := &choir{a: &app{Streams: Streams{Out: &stdout, Err: &stderr}}}
	report := func(name string) string {
		return name + " begins\n" + strings.Repeat(name+"\n", 200) + name + " ends\n"
	}
	names := []string{"pause", "kill", "stop"}
	var runs sync.WaitGroup
	for _, name := range names {
		v := c.voice(name)
		runs.Go(func() {
			for i := range 100 {
				fmt.Fprintf(v.err, "half of line %d, ", i) // a line may come in pieces
				fmt.Fprintf(v.err, "and its rest\nnext line of %s\n", name)
			}
			fmt.Fprint(v.err, "unfinished")
			fmt.Fprint(v.out, report(name))
			v.close()
		})
	}
	runs.Wait()
	for _, name := range names {
		if !strings.Contains(stdout.String(), report(name)) {
			t.Errorf("the report of %s was talked into:\n%s", name, &stdout)
		}
		if n := strings.Count(stderr.String(), name+" | half of line "); n != 100 {
			t.Errorf("%d of 100 lines begin with %s", n, name)
		}
		if !strings.Contains(stderr.String(), name+" | unfinished\n") {
			t.Errorf("the last words of %s are lost", name)
		}
	}
	for i, line := range strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n") {
		_, text, ok := strings.Cut(line, " | ")
		if !ok || strings.Contains(text, " | ") {
			t.Fatalf("line %d is not one run's: %q", i+1, line)
		}
	}
}

// TestAPanicOfOneRunEndsTheOthersAndIsTold would hang if the others went on, and crash the process if nobody caught it.
func TestAPanicOfOneRunEndsTheOthersAndIsTold(t *testing.T) {
	t.Parallel()
	var first sync.Once
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "a bug\n") || !strings.Contains(p, "schedule_test.go") {
			t.Errorf("panic %q, want the run's own, with where it was", p)
		}
	}()
	sideBySide(t.Context(), 3, func(ctx context.Context) {
		first.Do(func() { panic("a bug") })
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, errPanic) {
			t.Errorf("the others ended because of %v", cause)
		}
	})
	t.Error("nothing panicked")
}

func TestWhatPassedBeforeStandsForOneJobOfItsSeed(t *testing.T) {
	t.Parallel()
	fixed, free := scenario("fixed", new(int64(7))), scenario("free", nil)
	all := jobs([]given{{Scenario: fixed, digest: "f"}, {Scenario: free, digest: "g"}, {Scenario: scenario("attached", nil)}}, 2, func() int64 { return 40 })
	done := make([]ending, len(all))
	for _, c := range []struct {
		digest string
		seed   int64
		want   int
	}{
		{"f", 8, -1},
		{"f", *all[1].Seed, 1},
		{"f", *all[1].Seed, -1}, // it stands for one job only
		{"g", 99, 2},            // nobody asked for the seed
		{"g", 99, 3},
		{"g", 99, -1},
		{"h", 7, -1},
	} {
		got := matching(all, done, ledger.Run{Digest: c.digest, Seed: c.seed})
		if got != c.want {
			t.Errorf("%s with seed %d: job %d, want %d", c.digest, c.seed, got, c.want)
		}
		if got >= 0 {
			done[got] = ending{begun: true, before: true, outcome: runner.Outcome{Judged: true, Judgement: oracle.Judgement{Verdict: oracle.Pass}}}
		}
	}
	if n := len(left(all, done)); n != 3 {
		t.Errorf("%d jobs are left, want 3", n)
	}
	if e := done[1].entry(all[1], nil); !e.Before {
		t.Error("the summary does not tell that it was before")
	}
}
