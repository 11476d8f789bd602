package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/runner"
)

func TestAnInjectionIsAScenario(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   injection
		want string // the [[fault]] table
	}{
		{"a kind that holds", injection{kind: "pause", target: "kafka", hold: "10s"}, "kind = \"pause\"\ntarget = \"kafka\"\nat = \"0s\"\nfor = \"10s\"\n"},
		{
			"durations and numbers as they are typed",
			injection{kind: "latency", target: "web->db:5432", hold: "1s", params: []string{"delay=250ms", "toxicity=0.5"}},
			"kind = \"latency\"\ntarget = \"web->db:5432\"\nat = \"0s\"\nfor = \"1s\"\ndelay = \"250ms\"\ntoxicity = 0.5\n",
		},
		{"several targets", injection{kind: "stop", target: "app, web", params: []string{"down=5s"}, pick: "one"}, "kind = \"stop\"\ntarget = [\"app\", \"web\"]\nat = \"0s\"\npick = \"one\"\ndown = \"5s\"\n"},
		{"a list of names, with commas or as TOML", injection{kind: "partition", target: "db", hold: "1s", params: []string{"against=app,web"}}, "kind = \"partition\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nagainst = [\"app\", \"web\"]\n"},
		{"a list in TOML", injection{kind: "partition", target: "db", hold: "1s", params: []string{`against=["app"]`}}, "kind = \"partition\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nagainst = [\"app\"]\n"},
		{"a name that looks like a number", injection{kind: "disconnect", target: "db", hold: "1s", params: []string{"network=42"}}, "kind = \"disconnect\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nnetwork = \"42\"\n"},
		{"a value with an equals sign and quotes", injection{kind: "disconnect", target: "db", hold: "1s", params: []string{`network=a"=b`}}, "kind = \"disconnect\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nnetwork = \"a\\\"=b\"\n"},
		{"a size", injection{kind: "memory_limit", target: "db", hold: "1s", params: []string{"limit=24MiB"}}, "kind = \"memory_limit\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nlimit = \"24MiB\"\n"},
		{"a zero", injection{kind: "pids_limit", target: "db", hold: "1s", params: []string{"headroom=0"}}, "kind = \"pids_limit\"\ntarget = \"db\"\nat = \"0s\"\nfor = \"1s\"\nheadroom = 0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := c.in.scenario("shop")
			if err != nil {
				t.Fatal(err)
			}
			_, table, _ := strings.Cut(string(s.Origin.Source), "[[fault]]\n")
			if diff := cmp.Diff(c.want, table); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if s.Environment.Attach != "shop" || len(s.Fault) != 1 || s.Name != "inject_"+c.in.kind {
				t.Errorf("scenario %q attaches to %q, with %d faults", s.Name, s.Environment.Attach, len(s.Fault))
			}
		})
	}
}

func TestWhatIsWrongWithAnInjectionNamesItsArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   injection
		want []string
	}{
		{"an unknown kind", injection{kind: "pauze", target: "db", hold: "1s"}, []string{`KIND: unknown kind "pauze" (did you mean "pause"?)`}},
		{"a kind that is no word", injection{kind: `../a"b`, target: "db"}, []string{`KIND: unknown kind "../a\"b" (discompose faults lists the kinds)`}},
		{"a kind of a later version", injection{kind: "clock_skew", target: "db"}, []string{`KIND: kind "clock_skew" is not yet supported`}},
		{"a kind that holds, without a time", injection{kind: "pause", target: "db"}, []string{`--for: missing (how long the fault holds, as in --for 8s)`}},
		{"an instantaneous kind with a time", injection{kind: "kill", target: "db", hold: "1s"}, []string{`--for: kill is instantaneous (use down: the time until the target is started again)`}},
		{"a time without a unit", injection{kind: "pause", target: "db", hold: "10"}, []string{`--for: "10" is not a duration (write a number and a unit, as in "8s" or "250ms")`}},
		{"a service where a link belongs", injection{kind: "latency", target: "db", hold: "1s", params: []string{"delay=1ms"}}, []string{`TARGET: "db" is a service; latency takes a link (a link is written as in "web->db:5432")`}},
		{"a missing parameter", injection{kind: "stop", target: "db"}, []string{`down: is required and must be longer than 0s (down=5s)`}},
		{"an unknown parameter", injection{kind: "latency", target: "a->b:1", hold: "1s", params: []string{"dely=1ms"}}, []string{`dely=1ms: unknown key (did you mean "delay"?)`}},
		{"a bad value", injection{kind: "latency", target: "a->b:1", hold: "1s", params: []string{"delay=1x"}}, []string{`delay=1x: "1x" is not a duration (write a number and a unit, as in "8s" or "250ms")`}},
		{"a pick that is none", injection{kind: "pause", target: "db", hold: "1s", pick: "some"}, []string{`--pick: "some" is not one of one, minority, majority, all (what a query names, only a scenario can pick)`}},
		{"everything at once", injection{kind: "stop", target: "db", params: []string{"down", "for=3s", "at=5s", "grace=1s", "grace=2s", "=x"}, pick: "leader"}, []string{
			"down: is not key=value (as in delay=250ms; several targets are written with commas: app,web)",
			"for=3s: is a flag (write --for 3s)",
			"at=5s: only a scenario has this key: the fault is applied once, now, by hand",
			"grace=2s: grace is given twice",
			"=x: is not key=value (as in delay=250ms; several targets are written with commas: app,web)",
			`--pick: "leader" is not one of one, minority, majority, all (what a query names, only a scenario can pick)`,
			"down: is required and must be longer than 0s (down=5s)",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := c.in.scenario("shop")
			if err == nil || s != nil {
				t.Fatalf("scenario %v, no error", s)
			}
			if diff := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if code := exitOf(err); code != ExitUsage {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestTheProjectOfAnInjection(t *testing.T) {
	t.Parallel()
	shop, blog, ours := compose.RunningProject{Name: "shop"}, compose.RunningProject{Name: "blog"}, compose.RunningProject{Name: "dc1", Run: "1"}
	type list = []compose.RunningProject
	for _, c := range []struct {
		name  string
		named string
		all   list
		want  string
		code  Exit
		says  string
	}{
		{"the named one", "shop", list{blog, shop}, "shop", ExitPass, ""},
		{"a named one of a run", "dc1", list{ours, shop}, "dc1", ExitPass, ""},
		{"the only one", "", list{shop}, "shop", ExitPass, ""},
		{"the only one that is no run's", "", list{ours, shop}, "shop", ExitPass, ""},
		{"a named one that does not run", "stop", list{shop, ours}, "", ExitUnavailable, `find project "stop" (from --project): it does not run (running: shop, dc1 (of run 1))`},
		{"one of several", "", list{blog, shop}, "", ExitUsage, "several projects run, and there is no Compose file here: name one with --project (running: blog, shop)"},
		{"none", "", nil, "", ExitUnavailable, "find a project: there is no Compose file here, and of a project of your own: it does not run (running: none)"},
		{"none but a run's", "", list{ours}, "", ExitUnavailable, "running: dc1 (of run 1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := chooseProject(c.named, "--project", c.all)
			if got != c.want || exitOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("project %q, error %v", got, err)
			}
		})
	}
}

func TestExitCodesOfInjections(t *testing.T) {
	t.Parallel()
	heal := &faults.HealError{Err: errors.New("broken")}
	for _, c := range []struct {
		name string
		out  runner.Injected
		want Exit
	}{
		{"seen and gone", runner.Injected{}, ExitPass},
		{"no witness", runner.Injected{Err: fmt.Errorf("%w: no traffic", runner.ErrUnproven)}, ExitInconclusive},
		{"not supported", runner.Injected{Err: fmt.Errorf("plan: %w", faults.ErrUnsupported)}, ExitInconclusive},
		{"the agent was lost", runner.Injected{Err: runner.ErrAgentLost}, ExitInconclusive},
		{"interrupted", runner.Injected{Err: errors.Join(runner.ErrInterrupted, runner.ErrUnproven)}, ExitInterrupted},
		{"dirty and interrupted", runner.Injected{Err: runner.ErrInterrupted, Dirty: heal}, ExitDirty},
		{"no engine", runner.Injected{Err: compose.ErrEngine}, ExitUnavailable},
		{"another run on it", runner.Injected{Err: fmt.Errorf("start: %w", compose.ErrNotReady)}, ExitUnavailable},
	} {
		if got := exitOfInjection(c.out); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestAFileInMemoryIsAFileSystem(t *testing.T) {
	t.Parallel()
	f := oneFile{"a.toml", []byte("name = 1")}
	got, err := fs.ReadFile(f, "a.toml")
	if err != nil || string(got) != "name = 1" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fs.ReadFile(f, "b.toml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another file: %v", err)
	}
}
