package compose_test

import (
	"testing"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

func TestAnEnvironmentIsUsedAgainOnlyAsItWas(t *testing.T) {
	t.Parallel()
	was := func() []compose.Standing {
		standing := func(service string, number int) compose.Standing {
			return compose.Standing{
				Container: compose.Container{Service: service, Number: number, ID: service, State: "running"},
				ImageID:   "sha256:1", Config: "c", Host: "h", Networks: "default " + service, Health: "healthy",
			}
		}
		once := standing("migrate", 1)
		once.State, once.Health, once.OneShot = "exited", "", true
		return []compose.Standing{standing("consumer", 1), once, standing("web", 1), standing("web", 2)}
	}
	for name, c := range map[string]struct {
		change func(is []compose.Standing) []compose.Standing
		want   string // empty: it stands
	}{
		"as it was":         {func(is []compose.Standing) []compose.Standing { return is }, ""},
		"another container": {func(is []compose.Standing) []compose.Standing { is[2].ID = "new"; is[2].Restarts = 3; return is }, ""},
		"one that is to start": {func(is []compose.Standing) []compose.Standing {
			is[0].State = "exited"
			is[0].ExitCode = 137
			return is
		}, ""},
		"one that is gone": {func(is []compose.Standing) []compose.Standing { return is[:3] }, "web[2] is gone"},
		"one too many": {func(is []compose.Standing) []compose.Standing {
			more := is[3]
			more.Number = 3
			return append(is, more)
		}, "web[3] is there and was not"},
		"another image":         {func(is []compose.Standing) []compose.Standing { is[2].ImageID = "sha256:2"; return is }, "web runs another image"},
		"another configuration": {func(is []compose.Standing) []compose.Standing { is[3].Config = "d"; return is }, "web[2] has another configuration"},
		"a limit that is left":  {func(is []compose.Standing) []compose.Standing { is[2].Host = "i"; return is }, "web has other limits or mounts"},
		"a network that is gone": {
			func(is []compose.Standing) []compose.Standing { is[2].Networks = ""; return is },
			"web is in other networks, or under other names: none instead of default web",
		},
		"one that is paused":         {func(is []compose.Standing) []compose.Standing { is[2].State = "paused"; return is }, "web is paused"},
		"one that is stopped":        {func(is []compose.Standing) []compose.Standing { is[3].State = "exited"; return is }, "web[2] is exited"},
		"a one-shot that never ran":  {func(is []compose.Standing) []compose.Standing { is[1].State = "created"; return is }, "migrate is created with exit code 0"},
		"one that is not healthy":    {func(is []compose.Standing) []compose.Standing { is[2].Health = "unhealthy"; return is }, "web is unhealthy"},
		"a one-shot that failed":     {func(is []compose.Standing) []compose.Standing { is[1].ExitCode = 1; return is }, "migrate is exited with exit code 1"},
		"an idle one of other image": {func(is []compose.Standing) []compose.Standing { is[0].ImageID = "sha256:2"; return is }, "consumer runs another image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := compose.Differ(was(), c.change(was()), "consumer"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	never := was()
	never[1].State, never[3].State = "created", "created"
	if got := compose.Differ(never, never); got != "" {
		t.Errorf("services that no run starts: %q", got)
	}
	stopped := was()
	stopped[0].State = "exited"
	if got := compose.Differ(was(), stopped); got != "consumer is exited" {
		t.Errorf("a service that is not idle: %q", got)
	}
}

func TestAnEnvironmentSettles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state, health string
		want          bool
	}{
		"running":                       {"running", "", true},
		"healthy":                       {"running", "healthy", true},
		"unhealthy, which may pass":     {"running", "unhealthy", false},
		"not yet healthy":               {"running", "starting", false},
		"about to start again":          {"restarting", "", false},
		"stopped before it was healthy": {"exited", "starting", true},
	} {
		is := []compose.Standing{{Container: compose.Container{State: "running"}}, {Container: compose.Container{State: c.state}, Health: c.health}}
		if got := compose.Settled(is); got != c.want {
			t.Errorf("%s: settled is %t, want %t", name, got, c.want)
		}
	}
}

func TestTheMemoryOfAProjectIsEstimatedFromItsLimits(t *testing.T) {
	t.Parallel()
	const text = `
name: m
services:
  limited: {image: a, mem_limit: 100m, deploy: {replicas: 2}}
  deployed: {image: a, deploy: {resources: {limits: {memory: 50m}}}}
  hinted: {image: a, x-discompose: {memory: 30MiB}}
  plain: {image: a}
  off: {image: a, mem_limit: 1g, profiles: [off]}
`
	const mib = 1 << 20
	dir := composetest.Write(t, map[string]string{"compose.yaml": text})
	p := mustLoad(t, compose.LoadOptions{Dir: dir})
	if got, want := p.MemoryNeed(), int64(2*100*mib+50*mib+2*compose.DefaultServiceMemory); got != want {
		t.Errorf("a user's file: %d MiB, want %d MiB", got/mib, want/mib)
	}
	p.AsShipped("m")
	if got, want := p.MemoryNeed(), int64(2*100*mib+50*mib+30*mib+compose.DefaultServiceMemory); got != want {
		t.Errorf("a shipped one: %d MiB, want %d MiB", got/mib, want/mib)
	}
}

// TestShippedEnvironmentsSayWhatTheyNeed finds a hint that cannot be read: it would count as none.
func TestShippedEnvironmentsSayWhatTheyNeed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int64{
		"burn": 128, "etcd": 3 * 96, "kafka": 768 + 64, "kafka-cluster": 3*640 + 64, "minio": 256, "nats": 3 * 64, "nginx": 32, "nginx-pair": 2 * 32, "postgres": 192, "postgres-pair": 2 * 192,
		"rabbitmq": 256, "redis": 64, "redis-sentinel": 3*64 + 3*32, "web": 32 + 64 + 192,
	} {
		p, err := compose.LoadShipped(t.Context(), name, compose.LoadOptions{Env: map[string]string{"DISCOMPOSE_IMAGE": "self"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.MemoryNeed() >> 20; got != want {
			t.Errorf("%s needs %d MiB, want %d", name, got, want)
		}
	}
}

func TestAvailableMemoryIsReadFromTheKernel(t *testing.T) {
	t.Parallel()
	if got, ok := compose.Available([]byte("MemTotal:  24683520 kB\nMemFree:  22 kB\nMemAvailable:   23456 kB\n")); got != 23456<<10 || !ok {
		t.Errorf("%d %t", got, ok)
	}
	for _, text := range []string{"", "MemFree: 22 kB\n", "MemAvailable: many kB\n"} {
		if _, ok := compose.Available([]byte(text)); ok {
			t.Errorf("%q: it is known", text)
		}
	}
}
