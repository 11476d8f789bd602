package scenarios_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/network"
	"github.com/discompose/discompose/scenarios"
)

// netShop is a shop whose services are in several networks.
func netShop() []scenarios.Service {
	return []scenarios.Service{
		{Name: "web", Replicas: 1, Ports: []int{80}, Networks: []string{"front", "back"}},
		{Name: "db", Replicas: 1, Networks: []string{"back"}},
		{Name: "cdn", Replicas: 1, Networks: []string{"front"}},
		{Name: "side", Replicas: 1, NetworkMode: "service:web"},
		{Name: "hosty", Replicas: 1, NetworkMode: "host"},
		{Name: "alone", Replicas: 1, NetworkMode: "none"},
	}
}

func TestCutsThatCannotCutAreRefused(t *testing.T) {
	t.Parallel()
	const head = "environment.files = [\"compose.yaml\"]\n[probe.a]\nkind = \"tcp\"\ntarget = \"web:80\"\n[[fault]]\nat = \"0s\"\nfor = \"1s\"\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"sides that meet", "kind = \"partition\"\ntarget = \"web\"\nagainst = [\"db\", \"cdn\", \"probes\", \"*\"]\n", nil},
		{"sides that meet through another's namespace", "kind = \"partition\"\ntarget = \"side\"\nagainst = \"db\"\n", nil},
		{"no common network", "kind = \"partition\"\ntarget = \"db\"\nagainst = [\"web\", \"cdn\"]\n", []string{
			`t.toml:10:19: fault[0].against[1]: services "db" and "cdn" are in no common network: there is nothing to cut`,
		}},
		{"one namespace", "kind = \"partition\"\ntarget = \"web\"\nagainst = \"side\"\n", []string{
			`t.toml:10:1: fault[0].against: services "web" and "side" share one network namespace: nothing between them can be cut`,
		}},
		{"the host's network on the other side", "kind = \"partition\"\ntarget = \"web\"\nagainst = \"hosty\"\n", []string{
			`t.toml:10:1: fault[0].against: service "hosty" is in the engine host's network (network_mode: host): a cut there would be the host's`,
		}},
		{"the host's network", "kind = \"partition\"\ntarget = \"hosty\"\n", []string{
			`t.toml:9:1: fault[0].target: service "hosty" is in the engine host's network (network_mode: host): a cut there would be the host's`,
		}},
		{"no network", "kind = \"disconnect\"\ntarget = \"alone\"\n", []string{
			`t.toml:9:1: fault[0].target: service "alone" has no network (network_mode: none)`,
		}},
		{"another's networks", "kind = \"disconnect\"\ntarget = \"side\"\n", []string{
			`t.toml:9:1: fault[0].target: service "side" has no networks of its own: it is in the network namespace of web (name the service whose networks they are)`,
		}},
		{"one of its networks", "kind = \"disconnect\"\ntarget = \"web\"\nnetwork = \"back\"\n", nil},
		{"the engine's name of it", "kind = \"disconnect\"\ntarget = \"web\"\nnetwork = \"shop_back\"\n", nil},
		{"a network that it is not in", "kind = \"disconnect\"\ntarget = \"db\"\nnetwork = \"backk\"\n", []string{
			`t.toml:10:1: fault[0].network: service "db" is not in a network "backk" (did you mean "back"?)`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(t, head+c.text, func(o *scenarios.Options) { o.Kinds = []faults.Spec{network.PartitionSpec(), network.DisconnectSpec()} })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, lines(s.CheckServices(netShop()))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
