package scenarios_test

import (
	"cmp"
	"flag"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/scenarios"
)

// latency takes links, cut takes services and names others.

type latency struct{ unprepared }

func (*latency) Validate() error { return nil }

type cut struct {
	unprepared
	From   scenarios.Targets `toml:"from" doc:"the other side"`
	Except string            `toml:"except" doc:"not this one"`
}

func (*cut) Validate() error { return nil }

func (c *cut) Services() map[string][]string {
	out := map[string][]string{"from": c.From}
	if c.Except != "" {
		out["except"] = []string{c.Except}
	}
	return out
}

func withLinks(o *scenarios.Options) {
	o.Kinds = append(o.Kinds,
		faults.Spec{Kind: "latency", Family: faults.Link, Targets: []faults.TargetKind{faults.OnLink}, New: func() faults.Fault { return &latency{} }},
		faults.Spec{Kind: "cut", Family: faults.Network, Targets: []faults.TargetKind{faults.OnService}, New: func() faults.Fault { return &cut{} }})
}

// shop has every way in which a service can be on a network.
func shop() []scenarios.Service {
	return []scenarios.Service{
		{Name: "api", Replicas: 2, Ports: []int{80}},
		{Name: "batch", Replicas: 1, NetworkMode: "none"},
		{Name: "db", Replicas: 1, Ports: []int{53, 5432, 6000}, UDPPorts: []int{53}},
		{Name: "db-backup", Replicas: 1, NetworkMode: "service:db"},
		{Name: "dns", Replicas: 1, Ports: []int{53}, UDPPorts: []int{53}},
		{Name: "idle", Replicas: 0},
		{Name: "kafka", Replicas: 1, Ports: []int{9092}},
		{Name: "mon", Replicas: 1, NetworkMode: "host", Ports: []int{9100}},
		{Name: "mon2", Replicas: 1, NetworkMode: "service:mon"},
		{Name: "side", Replicas: 1, NetworkMode: "container:0123"},
		{Name: "web", Replicas: 1},
	}
}

func TestParseLinkReadsOnlyLinks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]scenarios.LinkRef{
		"web->db:5432":          {From: "web", To: "db", Port: 5432},
		" web -> db:5432 ":      {From: "web", To: "db", Port: 5432},
		"*->db*:1":              {From: "*", To: "db*", Port: 1},
		"workload.a-b->k:65535": {From: "workload.a-b", To: "k", Port: 65535},
	} {
		if got, ok := scenarios.ParseLink(text); !ok || got != want {
			t.Errorf("%q is read as %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{
		"", "db:5432", "web->db", "web->db:", "web->db:0", "web->db:65536", "web->db:+80", "web->db:080", "web->db:x", "->db:1", "web->:1",
		"a->b->c:1", "web[1]->db:1", "web->db[1]:1", "a b->db:1", "web->db:1:2", "[a-z]->db:1",
	} {
		if got, ok := scenarios.ParseLink(text); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestALinkIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // the seed that it prints is enough, and the tree stays clean
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.StringMatching(`[a-z*?][a-z0-9_.*?-]{0,5}`)
		l := scenarios.LinkRef{From: side.Draw(t, "from"), To: side.Draw(t, "to"), Port: rapid.IntRange(1, 65535).Draw(t, "port")}
		if got, ok := scenarios.ParseLink(l.String()); !ok || got != l {
			t.Fatalf("%v is read as %v, %t", l, got, ok)
		}
	})
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		link, edge string
		want       bool
	}{
		{"web->db:1", "web->db:1", true},
		{"web->db:1", "web->db:2", false},
		{"web->db:1", "web->db2:1", false},
		{"web->db:1", "api->db:1", false},
		{"w*->db:1", "web->db:1", true},
		{"w*->db:1", "api->db:1", false},
		{"*->db:1", "probes->db:1", true},
		{"*->db:1", "workload.x->db:1", true},
		{"*->db:1", "db->db:1", false},
		{"*->d?:1", "web->db:1", true},
		{"workload->db:1", "workload.x->db:1", true},
		{"workload->db:1", "probes->db:1", false},
		{"workload.x->db:1", "workload.y->db:1", false},
		{"workload.*->db:1", "workload.y->db:1", true},
	} {
		link, ok := scenarios.ParseLink(c.link)
		edge, ok2 := scenarios.ParseLink(c.edge)
		if !ok || !ok2 || link.Covers(edge) != c.want {
			t.Errorf("%s covers %s: want %t", c.link, c.edge, c.want)
		}
	}
}

func texts(links []scenarios.LinkRef) []string {
	var out []string
	for _, l := range links {
		out = append(out, l.String())
	}
	return out
}

const tcpProbe = "[probe.broker]\nkind = \"tcp\"\ntarget = \"kafka:9092\"\n"

func TestLinksListsWhatARunRoutes(t *testing.T) {
	t.Parallel()
	fault := func(target string) string {
		return "[[fault]]\nkind = \"latency\"\ntarget = " + target + "\nat = \"0s\"\nfor = \"1s\"\n"
	}
	link := func(from, to string) string { return "[[link]]\nfrom = \"" + from + "\"\nto = \"" + to + "\"\n" }
	all := []string{"api->kafka:9092", "db->kafka:9092", "db-backup->kafka:9092", "dns->kafka:9092", "probes->kafka:9092", "side->kafka:9092", "web->kafka:9092", "workload.orders->kafka:9092"}
	attached := strings.Replace(base, "use = \"kafka\"", "attach = \"shop\"", 1)
	for _, c := range []struct {
		name, text string
		services   []scenarios.Service
		want       []string
	}{
		{"without any, the workload's", base, shop(), []string{"workload.orders->kafka:9092"}},
		{"without any, the workload's and the faults'", base + fault(`["web->db:5432", "web->db:5432"]`), shop(), []string{"web->db:5432", "workload.orders->kafka:9092"}},
		{"to a running project, only the faults'", attached + fault(`"web->db:5432"`), shop(), []string{"web->db:5432"}},
		{"a fault on services needs none", attached + "[[fault]]\nkind = \"pause\"\ntarget = \"web\"\nat = \"0s\"\nfor = \"1s\"\n", shop(), nil},
		{"exactly those that are named", base + link("web", "db:5432") + link("workload", "kafka:9092"), shop(), []string{"web->db:5432", "workload.orders->kafka:9092"}},
		{"named ones are all, under attach too", attached + link("web", "db:5432"), shop(), []string{"web->db:5432"}},
		{"overlapping ones once", base + link("web", "db:5432") + link("w*", "db:5432"), shop(), []string{"web->db:5432", "workload.orders->db:5432"}},
		{"a star is all that can be routed", attached + link("*", "kafka:9092"), shop(), all},
		{"a star without what shares the server's namespace", attached + link("*", "db:5432"), shop(), []string{
			"api->db:5432", "dns->db:5432", "kafka->db:5432", "probes->db:5432", "side->db:5432", "web->db:5432", "workload.orders->db:5432",
		}},
		{
			"a star without clients that the scenario has not", "environment.attach = \"shop\"\n" + strings.Replace(tcpProbe, "\"tcp\"\ntarget = \"kafka:9092\"", "\"log\"\ntarget = \"web\"\nmatch = \"x\"", 1) + link("*", "kafka:9092"), shop(),
			slices.DeleteFunc(slices.Clone(all), func(l string) bool { return strings.HasPrefix(l, "probes") || strings.HasPrefix(l, "workload") }),
		},
		{"servers by a glob: those that have the port, or tell of none", attached + fault(`"web->*:9092"`), shop(), []string{
			"web->db:9092", "web->db-backup:9092", "web->kafka:9092", "web->side:9092",
		}},
		{"a UDP port is none, in its whole namespace", attached + fault(`"web->d*:53"`), shop(), nil},
		{"what cannot be routed", attached + fault(`["mon->db:5432", "mon2->db:5432", "batch->db:5432", "web->mon:9100", "web->batch:1", "idle->db:5432", "web->idle:1", "db->db:5432", "db-backup->db:5432"]`), shop(), nil},
		{"services that nobody has asked for", attached + fault(`["web->db:5432", "*->kafka:9092", "web->k*:9092", "workload.orders->x:9092"]`), nil, []string{
			"probes->kafka:9092", "web->db:5432", "workload.orders->kafka:9092", "workload.orders->x:9092",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := mustParse(t, c.text, withLinks).Links(c.services)
			if diff := gocmp.Diff(c.want, texts(got)); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
			sorted := slices.IsSortedFunc(got, func(a, b scenarios.LinkRef) int {
				return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To), a.Port-b.Port)
			})
			if !sorted {
				t.Errorf("%v is not sorted", got)
			}
		})
	}
}

func TestLinksOfLeavesOutWhatNothingUses(t *testing.T) {
	t.Parallel()
	s := mustParse(t, base+"[probe.page]\nkind = \"http\"\ntarget = \"https://web/\"\n[probe.store]\nkind = \"tcp\"\ntarget = \"db:5432\"\n", withLinks)
	for target, want := range map[string][]string{
		"*->kafka:9092":          {"api->kafka:9092", "db->kafka:9092", "db-backup->kafka:9092", "dns->kafka:9092", "probes->kafka:9092", "side->kafka:9092", "web->kafka:9092", "workload.orders->kafka:9092"},
		"workload->db:5432":      nil,
		"probes->web:443":        {"probes->web:443"},
		"probes->web:80":         nil,
		"probes->side:9092":      nil,
		"probes->db-backup:5432": {"probes->db-backup:5432"},
		"a*->web:443":            {"api->web:443"},
	} {
		got := s.LinksOf(scenarios.Fault{Target: scenarios.Targets{target}}, shop())
		if diff := gocmp.Diff(want, texts(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

func TestSelectKeepsLinksAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	got := scenarios.Fault{Target: scenarios.Targets{"*-> db:5432", "web->d*:5432", "*->db:5432", "web->db"}}.Select(shop())
	want := []scenarios.Ref{{Service: "db", Link: "*->db:5432"}, {Link: "web->d*:5432"}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSharesNamespaceNamesWhoseItIs(t *testing.T) {
	t.Parallel()
	services := append(shop(), scenarios.Service{Name: "deep", NetworkMode: "service:db-backup"}, scenarios.Service{Name: "round", NetworkMode: "service:round"})
	for service, want := range map[string]string{"db-backup": "db", "deep": "db", "side": "container:0123", "db": "", "mon": "", "mon2": "", "batch": "", "nosuch": "", "round": ""} {
		if got := scenarios.SharesNamespace(service, services); got != want {
			t.Errorf("%s shares that of %q, want %q", service, got, want)
		}
	}
}
