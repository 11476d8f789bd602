package scenarios_test

import (
	"errors"
	"io/fs"
	"path"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
)

// FuzzParse: no panic; every error has a row; what is accepted is accepted again, with the same result.
func FuzzParse(f *testing.F) { //nolint:gocognit // seeds, then one property after the other
	files := 0
	err := fs.WalkDir(scenarios.Shipped(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".toml" {
			return err
		}
		text, err := fs.ReadFile(scenarios.Shipped(), name)
		f.Add(string(text))
		files++
		return err
	})
	if err != nil || files < 15 {
		f.Fatalf("corpus: %d files, %v", files, err)
	}
	f.Add(base + "[nemesis]\ntime_limit = \"5m\"\ninterval = [\"3s\", \"10s\"]\nat_once = 2\ngate = [\"probe.broker\", { exec = [\"x\"], service = \"kafka\" }]\n" +
		"[[nemesis.fault]]\nkind = \"restart\"\ntarget = \"k*\"\npick = \"leader\"\nquery = { exec = [\"x\"], matches = \"(?P<n>a)|b\", service = \"k${1}$$n\" }\n")
	f.Add("[nemesis]\ngate = [{exec=[\"x\"]}]\n[[nemesis.fault]]\nkind = \"kill\"\n[[link]]\nfrom = 1\n")
	f.Add(base + "[[link]]\nfrom = \"*\"\nto = \"kafka:9092\"\n[[fault]]\nkind = \"latency\"\ntarget = [\"w*->k*:9092\", \"probes-> kafka:9092\"]\nat = \"0s\"\nfor = \"1s\"\n")
	f.Add(base + "[[fault]]\nkind = \"cut\"\ntarget = \"kafka\"\nat = \"0s\"\nfor = \"1s\"\nfrom = [\"workload\", \"k*\"]\n")
	f.Add("include = [\"f.toml\", \"_kafka.toml\"]\n[a.\"b.c\"]\nx = \"${X} $$ ${\"\n[[fault]]\nkind = 3\n[[fault]]\nid = \"\"\n")
	shared, err := fs.ReadFile(scenarios.Shipped(), "_kafka.toml")
	if err != nil {
		f.Fatal(err)
	}
	o := options()
	withLinks(&o)
	f.Fuzz(func(t *testing.T, text string) {
		fsys := fstest.MapFS{"f.toml": {Data: []byte(text)}, "_kafka.toml": {Data: shared}}
		s, err := scenarios.Parse(fsys, "f.toml", o)
		if err != nil {
			if s != nil {
				t.Fatal("there is a scenario beside the error")
			}
			placed(t, err)
			return
		}
		again, err := scenarios.Parse(fsys, "f.toml", o)
		if err != nil || !cmp.Equal(s.Places, again.Places) || len(s.Fault) != len(again.Fault) {
			t.Fatalf("a second parse differs: %v", err)
		}
		if err := s.CheckServices(shop()); err != nil {
			placed(t, err)
		}
		if n := s.Nemesis; n != nil && (n.Most() < 1 || n.Most() > scenarios.MostDrawn) {
			t.Fatalf("%d faults are drawn", n.Most())
		}
		for _, l := range s.Links(shop()) {
			if again, ok := scenarios.ParseLink(l.String()); !ok || again != l {
				t.Fatalf("%v is no link", l)
			}
		}
	})
}

// placed fails unless err is Errors of which each has a place.
func placed(t *testing.T, err error) {
	t.Helper()
	var all scenarios.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("%T is not Errors", err)
	}
	for _, e := range all {
		if e.Row <= 0 || e.Col <= 0 || e.Problem == "" || e.File == "" {
			t.Fatalf("error without a place: %+v", e)
		}
	}
}
