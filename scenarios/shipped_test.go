package scenarios_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

// shippedOptions are those of the program, for shipped scenarios use what it has.
func shippedOptions() scenarios.Options {
	o := options()
	o.Kinds, o.Drivers, o.Environments = catalogue.All(), drivers.Options(), nil
	return o
}

func TestEveryShippedScenarioParses(t *testing.T) {
	t.Parallel()
	list, err := scenarios.List(t.TempDir(), shippedOptions())
	if err != nil || len(list) < 14 {
		t.Fatalf("%d scenarios, %v", len(list), err)
	}
	for _, l := range list {
		if l.Err != nil {
			t.Errorf("%v", l.Err)
		}
		if l.From != "shipped" || l.Description == "" || len(l.Tags) == 0 {
			t.Errorf("%s lacks something: %+v", l.Name, l)
		}
	}
}

func TestEveryKindHasAScenario(t *testing.T) {
	t.Parallel()
	for _, s := range catalogue.All() {
		fsys, file, origin, err := scenarios.Find("kinds/"+string(s.Kind), t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", s.Kind, err)
			continue
		}
		o := shippedOptions()
		o.Origin = origin
		sc, err := scenarios.Parse(fsys, file, o)
		if err != nil || len(sc.Fault) == 0 || sc.Fault[0].Kind != s.Kind {
			t.Errorf("%s: %v", s.Kind, err)
		}
	}
}

// ours is a working directory with scenarios of its own.
func ours(t *testing.T) string {
	t.Helper()
	cwd := t.TempDir()
	for _, file := range []string{"mine.toml", "scenarios/ours.toml", "scenarios/kafka_broker_stop.toml", "scenarios/sub/deep.toml"} {
		full := filepath.Join(cwd, file)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte("# "+file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(cwd, "kafka_broker_pause"), 0o755); err != nil { // a folder is no scenario
		t.Fatal(err)
	}
	return cwd
}

func TestFindLooksAtPathsThenTheFolderThenTheCatalogue(t *testing.T) {
	t.Parallel()
	cwd := ours(t)
	for name, want := range map[string]string{
		"mine.toml":                        "mine.toml",
		"./mine.toml":                      "./mine.toml",
		filepath.Join(cwd, "mine.toml"):    filepath.Join(cwd, "mine.toml"),
		"ours":                             "scenarios/ours.toml",
		"ours.toml":                        "scenarios/ours.toml",
		"sub/deep":                         "scenarios/sub/deep.toml",
		"kafka_broker_stop":                "scenarios/kafka_broker_stop.toml",
		"kafka_broker_pause":               "shipped:kafka_broker_pause.toml",
		"kafka_broker_pause.toml":          "shipped:kafka_broker_pause.toml",
		"kinds/pause":                      "shipped:kinds/pause.toml",
		"scenarios/kafka_broker_stop.toml": "scenarios/kafka_broker_stop.toml",
	} {
		fsys, file, origin, err := scenarios.Find(name, cwd)
		if err != nil || origin.Path != want || origin.Shipped != strings.HasPrefix(want, "shipped:") || (origin.Dir == "") != origin.Shipped {
			t.Errorf("find %s: %+v, %v", name, origin, err)
			continue
		}
		text, err := fs.ReadFile(fsys, file)
		if err != nil || (!origin.Shipped && !strings.HasSuffix(filepath.ToSlash(want), strings.TrimPrefix(string(text), "# "))) {
			t.Errorf("find %s: read %q, %v", name, text, err)
		}
	}
}

func TestFindSaysWhatIsNearest(t *testing.T) {
	t.Parallel()
	cwd := ours(t)
	for _, file := range []string{"here.toml", "compose.yaml"} {
		if err := os.WriteFile(filepath.Join(cwd, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"kafka_broker_puase": `find scenario "kafka_broker_puase": there is no such file, none in ./scenarios and none shipped (did you mean "kafka_broker_pause"?)`,
		"x/our.toml":         `find scenario "x/our.toml": there is no such file, none in ./scenarios and none shipped (did you mean "ours"?)`,
		"_kafka":             `find scenario "_kafka": there is no such file, none in ./scenarios and none shipped (did you mean "kinds/kill"?)`,
		"here":               `find scenario "here": there is no such file (did you mean "here.toml"?)`,
		"compose.yaml":       `find scenario "compose.yaml": a scenario is a TOML file, which names Compose files under environment.files (discompose topology compose.yaml shows what is in one)`,
		"zzzzzzzz":           `find scenario "zzzzzzzz": there is no such file, none in ./scenarios and none shipped (discompose list shows all)`,
		"../../etc/hostname": `find scenario "../../etc/hostname": there is no such file, none in ./scenarios and none shipped (discompose list shows all)`,
	} {
		if name == "../../etc/hostname" || name == "_kafka" {
			want = "" // only that it is not found
		}
		if _, _, _, err := scenarios.Find(name, cwd); err == nil || (want != "" && err.Error() != want) {
			t.Errorf("find %s: %v", name, err)
		}
	}
}

func TestListHidesShippedScenariosBehindLocalOnes(t *testing.T) {
	t.Parallel()
	cwd := t.TempDir()
	dir := filepath.Join(cwd, "scenarios")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	good := "description = \"mine\"\ntags = [\"a\"]\n" + base
	for file, text := range map[string]string{"kafka_broker_stop.toml": good, "bad.toml": "description = \"bad\"\nx = 1\n" + good[21:], "_shared.toml": "", "readme.txt": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := scenarios.List(cwd, options())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	if slices.Index(names, "kafka_broker_stop") != 1 || slices.Contains(names[2:], "kafka_broker_stop") || slices.Contains(names, "_shared") {
		t.Errorf("names are %v", names)
	}
	bad, stop := list[0], list[1]
	if diff := cmp.Diff([]string{`scenarios/bad.toml:2:1: x: unknown key`}, lines(bad.Err)); bad.Name != "bad" || bad.Description != "bad" || diff != "" {
		t.Errorf("bad is %+v\n%s", bad, diff)
	}
	if stop.From != "./scenarios" || stop.Path != "scenarios/kafka_broker_stop.toml" || stop.Description != "mine" || !slices.Equal(stop.Tags, []string{"a"}) || stop.Err != nil {
		t.Errorf("stop is %+v", stop)
	}
}
