package scenarios_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
	"github.com/discompose/discompose/workload/httpdriver"
)

// TestOptionsWithTablesInThem takes the http driver's, which has some.
func TestOptionsWithTablesInThem(t *testing.T) {
	t.Parallel()
	ours := func(o *scenarios.Options) { o.Drivers = drivers.Options() }
	const head = "[environment]\nuse = \"kafka\"\n[workload.orders]\ndriver = \"http\"\ntarget = \"web:80\"\n"
	t.Run("are decoded with their defaults", func(t *testing.T) {
		s := mustParse(t, head+"options = { add = { path = \"/o/{{id}}\", fail = [] }, lists = 0.1, keys = { count = 3 } }\n", ours)
		got, ok := s.Workload["orders"].Options.(*httpdriver.Options)
		if !ok {
			t.Fatalf("the options are %T", s.Workload["orders"].Options)
		}
		want := httpdriver.Options{}.WithDefaults()
		want.Add.Path, want.Add.Body, want.Add.Fail, want.Lists, want.Keys.Count = "/o/{{id}}", "", []int{}, 0.1, 3
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("have the clients of their model", func(t *testing.T) {
		for text, want := range map[string]int{`options = { model = "objects" }`: 24, `options = { model = "bank" }`: 1, "clients = 3\noptions = { model = \"objects\" }": 3} {
			if s := mustParse(t, head+text+"\n", ours); s.Workload["orders"].Clients != want {
				t.Errorf("%s: %d clients, want %d", text, s.Workload["orders"].Clients, want)
			}
		}
	})
	t.Run("may say that no code declines", func(t *testing.T) {
		s := mustParse(t, head+"options = { model = \"bank\", transfer = { declined = [], fail = [400, 409] } }\n", ours)
		got, ok := s.Workload["orders"].Options.(*httpdriver.Options)
		if !ok || len(got.Transfer.Declined) != 0 {
			t.Errorf("%+v", s.Workload["orders"].Options)
		}
	})
	for _, c := range []struct {
		name, options string
		want          []string
	}{
		{"an unknown key", `{ add = { pth = "/x" } }`, []string{`t.toml:6:21: workload.orders.options.add.pth: unknown key (did you mean "path"?)`}},
		{"a wrong type", `{ add = { ok = "201" } }`, []string{`t.toml:6:21: workload.orders.options.add.ok: must be a list of integers, not a string`}},
		{"a wrong template", `{ add = { body = "{{name}} {{id}}" } }`, []string{`t.toml:6:13: workload.orders.options.add: there is no {{name}} (write {{id}} or {{key}})`}},
		{"a wrong expression", `{ read = { element = "[0-9]+" } }`, []string{`t.toml:6:13: workload.orders.options.read: element = "[0-9]+" has 0 groups, not one: the element is the group's`}},
		{"live keys for fewer clients", `{ model = "objects", keys = { count = 50 }, live_keys = 10 }`, []string{`t.toml:6:55: workload.orders.options.live_keys: 10 is less than the workload's 24 clients, of which each may put an object at the same time`}},
		{"keys that are none", `{ keys = { distribution = "pareto" } }`, []string{`t.toml:6:22: workload.orders.options.keys.distribution: "pareto" is not one of uniform, zipf, hot`}},
	} {
		t.Run("report "+c.name, func(t *testing.T) {
			_, err := parse(t, head+"options = "+c.options+"\n", ours)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
