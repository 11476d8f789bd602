package compose_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

func mustLoad(t *testing.T, o compose.LoadOptions) *compose.Project {
	t.Helper()
	p, err := compose.Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoadDescribesServices(t *testing.T) {
	p := mustLoad(t, compose.LoadOptions{Dir: "testdata/load"})
	want := []compose.Service{
		{
			Name: "db", Image: "postgres:15", Replicas: 1, Ports: []int{5432, 6000, 6001, 6002}, UDPPorts: []int{6000, 6001, 6002}, Restart: "always", Networks: []string{"back"},
			Volumes: []string{"/var/lib/postgresql/data"}, Healthcheck: true, Environment: map[string]string{}, Links: map[string]string{}, Labels: map[string]string{},
		},
		{
			Name: "migrate", Image: "busybox:1", Replicas: 1, Restart: "no", Networks: []string{"back"}, OneShot: true,
			Environment: map[string]string{}, Links: map[string]string{}, Labels: map[string]string{},
		},
		{
			Name: "web", Image: "nginx:1.22", Replicas: 1, Ports: []int{80, 9000}, Published: []string{"8080:80/tcp"}, HostPorts: map[int]int{8080: 80}, Restart: "no",
			Networks: []string{"back", "front"}, Volumes: []string{"/tmp"}, DependsOn: []string{"db", "migrate"}, ReadOnly: true, User: "101",
			Environment: map[string]string{"FROM_FILE": "", "FROM_OS": "", "WON": ""}, Links: map[string]string{}, Labels: map[string]string{},
		},
	}
	if diff := cmp.Diff(want, p.Services()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if p.Name() != "loaded" || !slices.Equal(p.Volumes(), []string{"data"}) || !slices.Equal(p.Disabled(), []string{"debug"}) {
		t.Errorf("name %q, volumes %v, disabled %v", p.Name(), p.Volumes(), p.Disabled())
	}
}

func TestLoadHonoursProfilesFilesAndEnvironment(t *testing.T) {
	t.Setenv("DISCOMPOSE_TEST_OS", "os")
	p := mustLoad(t, compose.LoadOptions{
		Dir: "testdata/load", Files: []string{"compose.yaml", "more.yaml"}, Profiles: []string{"debug"}, EnvFiles: []string{"vars.env"},
		Env: map[string]string{"WON": "option"}, Name: "other",
	})
	web, ok := p.Service("web")
	if !ok {
		t.Fatal("there is no web")
	}
	want := map[string]string{"FROM_FILE": "file", "FROM_OS": "os", "WON": "option"}
	if !maps.Equal(web.Environment, want) {
		t.Errorf("environment is %v, want %v: options win over the process, the process over files", web.Environment, want)
	}
	if web.Replicas != 3 || !slices.Equal(web.Ports, []int{80}) {
		t.Errorf("the second file does not count: %+v", web)
	}
	if debug, ok := p.Service("debug"); !ok || debug.NetworkMode != "service:web" || !slices.Equal(debug.DependsOn, []string{"web"}) {
		t.Errorf("the profile does not count: %+v", debug)
	}
	if p.Name() != "other" {
		t.Errorf("name is %q", p.Name())
	}
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		o          compose.LoadOptions
		want       []string
	}{
		{"an unknown key", "services: {web: {image: x, imgae: y}}", compose.LoadOptions{}, []string{"compose.yaml", "imgae"}},
		{"a wrong type", "services: {web: {image: x, ports: 5}}", compose.LoadOptions{}, []string{"compose.yaml", "services.web.ports"}},
		{"no service", "services: {web: {image: x, profiles: [a]}}", compose.LoadOptions{}, []string{"no service is enabled", "a"}},
		{"an unknown dependency", "services: {web: {image: x, depends_on: [db]}}", compose.LoadOptions{}, []string{"web", "db"}},
		{"a missing variable", "services: {web: {image: '${NO_SUCH_VARIABLE:?set it}'}}", compose.LoadOptions{}, []string{"NO_SUCH_VARIABLE", "set it"}},
		{"a missing file", "", compose.LoadOptions{Files: []string{"absent.yaml"}}, []string{"absent.yaml"}},
		{"a missing env file", "services: {web: {image: x}}", compose.LoadOptions{EnvFiles: []string{"absent.env"}}, []string{"absent.env"}},
		{"a bad name", "services: {web: {image: x}}", compose.LoadOptions{Name: "Not Good"}, []string{"Not Good"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Dir = composetest.Write(t, map[string]string{"compose.yaml": tc.file})
			_, err := compose.Load(t.Context(), tc.o)
			if err == nil {
				t.Fatal("it loads")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
		})
	}
}

func TestLoadReportsUnsetVariables(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": "name: w\nservices: {web: {image: x, environment: {A: $NO_SUCH_VARIABLE}}}"})
	p := mustLoad(t, compose.LoadOptions{Dir: dir})
	if len(p.Warnings()) != 1 || !strings.Contains(p.Warnings()[0], "NO_SUCH_VARIABLE") {
		t.Errorf("warnings are %q", p.Warnings())
	}
}

func TestShippedEnvironmentsLoadWithoutTheUsersVariables(t *testing.T) {
	t.Setenv("COMPOSE_PROFILES", "x")
	names := compose.Environments()
	if len(names) < 6 || !slices.Contains(names, "kafka") {
		t.Fatalf("environments are %v", names)
	}
	for _, name := range names {
		p, err := compose.LoadShipped(t.Context(), name, compose.LoadOptions{Env: map[string]string{"DISCOMPOSE_IMAGE": "self:1"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Shipped() != name || len(p.Warnings()) > 0 {
			t.Errorf("%s: shipped %q, warnings %v", name, p.Shipped(), p.Warnings())
		}
		fallbacks := map[string][]string{"kafka": {"kafka"}, "web": {"web"}}
		if embedded := p.Embedded(); !slices.Equal(embedded, fallbacks[name]) {
			t.Errorf("%s has embedded fallbacks: %v", name, embedded)
		}
		if name != "kafka" {
			continue
		}
		consumer, _ := p.Service("consumer")
		kafka, _ := p.Service("kafka")
		if consumer.Image != "self:1" || kafka.Image != "apache/kafka:3.9.1" || !kafka.Healthcheck {
			t.Errorf("kafka: %+v, %+v", kafka, consumer)
		}
	}
	if _, err := compose.LoadShipped(t.Context(), "kafak", compose.LoadOptions{}); err == nil || !strings.Contains(err.Error(), "kafka") {
		t.Errorf("an unknown name: %v", err)
	}
}
