package runner

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/scenarios"
)

func TestWhatBecameOfAProjectIsToldByContainer(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	front := faults.Endpoint{Network: "n1", Name: "shop_front", Addresses: []string{"10.0.0.2"}, Aliases: []string{"web"}}
	was := item{name: "web", container: faults.Container{ID: "w", Running: true, PID: 10, StartedAt: start, Health: "healthy"}, endpoints: []faults.Endpoint{front}}
	change := func(do func(*item)) inventory {
		is := was
		is.endpoints = []faults.Endpoint{front}
		do(&is)
		return inventory{"w": is, "new": {name: "new"}}
	}
	for _, c := range []struct {
		name  string
		after inventory
		want  []string
	}{
		{"nothing", change(func(*item) {}), nil},
		{"not known", nil, nil},
		{"its container went", inventory{"x": {}}, []string{"web: its container is gone"}},
		{"it was started again", change(func(i *item) { i.container.PID, i.container.StartedAt = 11, start.Add(1) }), []string{"web: it was started again (process 11 instead of 10)"}},
		{
			"its policy started it again", change(func(i *item) { i.container.PID, i.container.StartedAt, i.container.RestartCount = 11, start.Add(1), 1 }),
			[]string{"web: its restart policy started it again (process 11 instead of 10)"},
		},
		{"it is down", change(func(i *item) { i.container.Running, i.container.ExitCode = false, 3 }), []string{"web: it does not run any more (exit code 3)"}},
		{"it is paused", change(func(i *item) { i.container.Paused = true }), []string{"web: paused is true now"}},
		{"it is unhealthy", change(func(i *item) { i.container.Health = "unhealthy" }), []string{"web: it is unhealthy, and was healthy"}},
		{"a limit stayed", change(func(i *item) { i.container.Limits.PIDs = 5 }), []string{"web: its limits are {CPUPeriod:0 CPUQuota:0 NanoCPUs:0 MemoryBytes:0 SwapBytes:0 PIDs:5}, and were {CPUPeriod:0 CPUQuota:0 NanoCPUs:0 MemoryBytes:0 SwapBytes:0 PIDs:0}"}},
		{"another address", change(func(i *item) { i.endpoints[0].Addresses = []string{"10.0.0.3"} }), []string{"web: its address in shop_front is 10.0.0.3, and was 10.0.0.2"}},
		{"other names", change(func(i *item) { i.endpoints[0].Aliases = nil }), []string{"web: its names in shop_front are [], and were [web]"}},
		{
			"another network", change(func(i *item) { i.endpoints[0].Network, i.endpoints[0].Name = "n2", "shop_back" }),
			[]string{"web: it is not in network shop_front any more; it is in network shop_back now"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, inventory{"w": was}.changes(c.after)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTheDifferenceIsASentence(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]Difference{
		"all 3 containers are as they were":                                     {Containers: 3},
		"3 containers are as they were but for this: a: x; b: y":                {Containers: 3, Changes: []string{"a: x", "b: y"}},
		"it could not be looked at: broken":                                     {Containers: 3, Unknown: errors.New("broken")},
		"it could not be looked at: broken, and changes that are not known too": {Unknown: errors.New("broken, and changes that are not known too"), Changes: []string{"x"}},
	} {
		if got := d.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAnInjectionIsProvenByEachWitnessAlone(t *testing.T) {
	t.Parallel()
	good := ledger.Fault{Kind: "pause", Target: "web", Confirmed: 1, Gone: 2}
	never, stuck, bad := good, good, good
	never.Confirmed, stuck.Gone, bad.Error = 0, 0, "no witness: nothing happened"
	for _, c := range []struct {
		name string
		all  []ledger.Fault
		want string // "": proven
	}{
		{"seen and gone", []ledger.Fault{good, good}, ""},
		{"no target", nil, "not proven: 0 of 0 targets were reached"},
		{"one that a rolling kind did not come to", []ledger.Fault{good}, "not proven: 1 of 2 targets were reached"},
		{"one that was never seen", []ledger.Fault{good, never}, "not proven: pause on web was never seen"},
		{"one that is not gone", []ledger.Fault{stuck, good}, "not proven: pause on web was never seen"},
		{"one with an error", []ledger.Fault{good, bad}, "not proven: no witness: nothing happened"},
	} {
		err := unproven(c.all, min(2*len(c.all), 2))
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrUnproven) || err.Error() != c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAnInjectedRunIsNotJudged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := ledger.WriteRun(dir, ledger.Run{ID: "0000000a", Injected: true, Rules: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if _, err := JudgeRun(t.Context(), dir, nil); !errors.Is(err, ErrInjected) {
		t.Errorf("judged, with %v", err)
	}
}

func TestThePlanOfAnInjectionSaysHowItIsSeenAndUndone(t *testing.T) {
	t.Parallel()
	const head = "[environment]\nattach = \"shop\"\n[[fault]]\nat = \"0s\"\n"
	services := []scenarios.Service{{Name: "app", Replicas: 2}, {Name: "db", Replicas: 1, Restart: "always"}}
	for _, c := range []struct {
		name, fault string
		want        []string // lines
	}{
		{"that holds", "kind = \"pause\"\ntarget = \"db\"\nfor = \"10s\"\n", []string{
			"project      shop (running; nothing is created, recreated or removed in it)",
			"inject       pause db for 10s, by Docker API",
			"  witness    the engine says paused and, through the agent, the kernel says frozen and the container's CPU time stands still.",
		}},
		{"that is picked", "kind = \"kill\"\ntarget = \"app\"\npick = \"one\"\ndown = \"5s\"\n", []string{
			"inject       kill app[1] (signal = \"SIGKILL\", down for 5s), by signal from the host's pid namespace, else Docker API",
			"  picked     one, by seed 7",
		}},
		{"on a link", "kind = \"latency\"\ntarget = \"app->db:5432\"\ndelay = \"1s\"\nfor = \"10s\"\n", []string{
			"link         app->db:5432",
			"  unrouted   connections through published ports and the gateway",
			"  undo       the toxic is taken away and what it held goes on at once.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := scenarios.Parse(fstest.MapFS{"x.toml": {Data: []byte(head + c.fault)}}, "x.toml", scenarios.Options{Kinds: catalogue.All(), Unobserved: true})
			if err != nil {
				t.Fatal(err)
			}
			p, err := NewPlan(s, services, nil, nil, 7)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Injection()
			for _, line := range c.want {
				if !strings.Contains("\n"+got, "\n"+line+"\n") {
					t.Errorf("no line %q in\n%s", line, got)
				}
			}
		})
	}
}
