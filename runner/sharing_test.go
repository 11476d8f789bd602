package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/oracle"
)

// shared is a scenario with an environment of its own text, a probe, and one fault.
func shared(environment, more string) string {
	return `name = "s"
[environment]
` + environment + `
[probe.home]
kind = "tcp"
target = "web:80"
[[fault]]
kind = "pause"
target = "web"
at = "1s"
for = "2s"
` + more
}

const shop = `
name: shop
services:
  web: {image: "nginx:${TAG:-1}", expose: ["80"]}
  db: {image: postgres, volumes: ["data:/data"]}
volumes: {data: {}}
`

// ids are what EnvironmentKey and Digest say of a scenario.
type ids struct{ key, digest string }

func idsOf(t *testing.T, text, project string) ids {
	t.Helper()
	s := scenario(t, text)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(project), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir, Env: s.Environment.Env, Profiles: s.Environment.Profiles})
	if err != nil {
		t.Fatal(err)
	}
	var out ids
	if out.key, err = EnvironmentKey(s, p); err == nil {
		out.digest, err = Digest(s, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOnlyEqualEnvironmentsAreShared compares scenarios with one in a folder of the same files.
func TestOnlyEqualEnvironmentsAreShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(shop), 0o644); err != nil {
		t.Fatal(err)
	}
	of := func(environment, more string) string {
		s := scenario(t, shared(environment, more))
		p, err := compose.Load(t.Context(), compose.LoadOptions{Dir: dir, Env: s.Environment.Env})
		if err != nil {
			t.Fatal(err)
		}
		key, err := EnvironmentKey(s, p)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	const base = "files = [\"compose.yaml\"]\nfresh = false\n"
	first := of(base, "")
	if first == "" {
		t.Fatal("a scenario that says fresh = false shares nothing")
	}
	for name, c := range map[string]struct {
		environment, more string
		same              bool
	}{
		"another fault":                     {base, "[[fault]]\nkind = \"restart\"\ntarget = \"db\"\nat = \"5s\"\n", true},
		"another deadline":                  {base + "ready = \"30s\"", "", true},
		"a setup step":                      {base, "[[setup]]\nservice = \"db\"\nexec = [\"true\"]\n", true},
		"the default, said":                 {base + "fallback = true", "", true},
		"another image by a variable":       {base + "env = { TAG = \"2\" }", "", false},
		"another share":                     {base + "share = [\"volume:data\"]", "", false},
		"another publish":                   {base + "publish = [\"web:80\"]", "", false},
		"another fallback":                  {base + "fallback = false", "", false},
		"a service that is only a step":     {base, "[[setup]]\nservice = \"db\"\n", false},
		"a step that a service must follow": {base, "[[setup]]\nservice = \"db\"\nexec = [\"true\"]\nbefore = [\"web\"]\n", false},
		"fresh = true":                      {"files = [\"compose.yaml\"]\nfresh = true\n", "", false},
		"nothing said":                      {"files = [\"compose.yaml\"]\n", "", false},
	} {
		if got := of(c.environment, c.more); (got == first) != c.same {
			t.Errorf("%s: the same is %t, want %t", name, got == first, c.same)
		}
	}
	for name, text := range map[string]string{
		"fresh = true": "files = [\"compose.yaml\"]\nfresh = true\n", "nothing said": "files = [\"compose.yaml\"]\n",
	} {
		if got := of(text, ""); got != "" {
			t.Errorf("%s: it shares %s", name, got)
		}
	}
	attached := scenario(t, shared("attach = \"shop\"\nfresh = false\n", ""))
	if key, err := EnvironmentKey(attached, nil); key != "" || err != nil {
		t.Errorf("attached: it shares %q, %v", key, err)
	}
}

func TestADigestIsOfAllThatAScenarioDoesButItsSeed(t *testing.T) {
	t.Parallel()
	const base = "files = [\"compose.yaml\"]\n"
	first := idsOf(t, shared(base, ""), shop).digest
	for name, c := range map[string]struct {
		text, project string
		same          bool
	}{
		"again":                {shared(base, ""), shop, true},
		"another parameter":    {shared(base, "[recovery]\nwithin = \"31s\"\n"), shop, false},
		"another fault":        {shared(base, "[[fault]]\nkind = \"restart\"\ntarget = \"db\"\nat = \"5s\"\n"), shop, false},
		"another Compose file": {shared(base, ""), strings.Replace(shop, "postgres", "postgres:15", 1), false},
	} {
		if got := idsOf(t, c.text, c.project).digest; (got == first) != c.same {
			t.Errorf("%s: the same is %t, want %t", name, got == first, c.same)
		}
	}
	a, b := scenario(t, "seed = 1\n"+shared(base, "")), scenario(t, "seed = 2\n"+shared(base, ""))
	p, err := compose.LoadShipped(t.Context(), "web", compose.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := Digest(a, p)
	two, err2 := Digest(b, p)
	if one != two || err1 != nil || err2 != nil {
		t.Errorf("the seed is part of it: %s, %s, %v, %v", one, two, err1, err2)
	}
}

// TestOnlyARunThatPassedLendsItsEnvironment would fail if another run got what a failed one has left.
func TestOnlyARunThatPassedLendsItsEnvironment(t *testing.T) {
	t.Parallel()
	good := Outcome{Judged: true, Judgement: oracle.Judgement{Verdict: oracle.Pass}}
	for name, c := range map[string]struct {
		change func(r *run, stage *error, out *Outcome)
		want   bool
		asked  bool
	}{
		"passed":               {func(*run, *error, *Outcome) {}, true, true},
		"nobody wants it":      {func(r *run, _ *error, _ *Outcome) { r.o.Lend = func() bool { return false } }, false, false},
		"failed":               {func(_ *run, _ *error, o *Outcome) { o.Judgement.Verdict = oracle.Fail }, false, false},
		"inconclusive":         {func(_ *run, _ *error, o *Outcome) { o.Judgement.Verdict = oracle.Inconclusive }, false, false},
		"left dirty":           {func(_ *run, _ *error, o *Outcome) { o.Dirty = os.ErrInvalid }, false, false},
		"ended early":          {func(_ *run, stage *error, _ *Outcome) { *stage = ErrInterrupted }, false, false},
		"not judged":           {func(_ *run, _ *error, o *Outcome) { o.Judged = false }, false, false},
		"attached":             {func(r *run, _ *error, _ *Outcome) { r.info.Attached = true }, false, false},
		"kept":                 {func(r *run, _ *error, _ *Outcome) { r.o.Keep = true }, false, false},
		"how it was not known": {func(r *run, _ *error, _ *Outcome) { r.was = nil }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := false
			r := testRun(t, "")
			r.dir = &Dir{Path: "/runs/x"}
			r.o.Lend = func() bool { asked = true; return true }
			r.was = []compose.Standing{{}}
			var stage error
			out := good
			c.change(r, &stage, &out)
			if got := r.lends(stage, out); got != c.want || asked != c.asked {
				t.Errorf("it lends: %t, and asked: %t; want %t, %t", got, asked, c.want, c.asked)
			}
		})
	}
}

func TestARunThatUsesAnothersEnvironmentIsKnownByItsJournal(t *testing.T) {
	t.Parallel()
	for _, owner := range []string{"", "0a1b2c3d"} {
		d := newDir(t, t.TempDir())
		f, err := openJournal(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		state := &faults.State{Commit: (&journalFile{file: f, ctx: t.Context()}).commit}
		if err := state.Identify(faults.RunNote{Run: d.ID, Owner: owner}); err != nil {
			t.Fatal(err)
		}
		if got := uses(d.Path); got != (owner != "") {
			t.Errorf("owner %q: it uses another's environment: %t", owner, got)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if uses(filepath.Join(t.TempDir(), "gone")) {
		t.Error("a run whose directory is gone uses another's environment")
	}
}
