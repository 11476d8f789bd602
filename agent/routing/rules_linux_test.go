package routing

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/agent"
)

// sketch is a Manager with namespaces that are not there: a client "web" and a server "db", and what links them.
type sketch struct {
	*Manager
	web, db *space
	edge    *edge
}

func newSketch(webAddrs, dbAddrs string) sketch {
	m := &Manager{spaces: map[uint64]*space{}, members: map[string]*member{}, cuts: map[string]*cut{}, silent: map[door]bool{}}
	e := &edge{Edge: agent.Edge{Name: "web->db:5432", From: "web", To: "db", Port: 5432}, index: 3}
	m.edges = []*edge{e}
	add := func(inode uint64, who, addrs string) *space {
		s := &space{inode: inode, members: map[string]*member{}, entries: map[*edge]*entry{}, loop6: true}
		for a := range strings.FieldsSeq(addrs) {
			s.take(true, netip.MustParsePrefix(a), false)
		}
		x := &member{id: who + "-id", who: who, name: who, space: s}
		m.spaces[inode], m.members[x.id], s.members[x.id] = s, x, x
		return s
	}
	s := sketch{Manager: m, web: add(1, "web", webAddrs), db: add(2, "db", dbAddrs), edge: e}
	s.web.entries[e] = &entry{port4: 40004, port6: 40006}
	return s
}

// text is what render would write into a namespace.
func (k sketch) text(s *space) string {
	want := k.wanted()
	var out []string
	for _, spec := range chainSpecs() {
		for _, r := range want[s][spec.name] {
			out = append(out, spec.name+": "+r.text)
		}
	}
	return strings.Join(out, "\n")
}

func TestTheRulesFollowFromWhatIsWanted(t *testing.T) {
	const (
		idle = `route: mark 0x64630001 accept
route: ip daddr 10.0.0.2 tcp dport 5432 syn counter redirect-3 redirect to :40004
guard: mark 0x64630001 ct mark set 0x64630001 accept
guard: ct mark 0x64630001 accept
guard: ip daddr 10.0.0.2 tcp dport 5432 ct mark 0x64630002 ack ct mark set 0x64630005
guard: ip daddr 10.0.0.2 tcp dport 5432 ct mark != 0x64630002 ct mark != 0x64630005 no rst counter early-3 accept
arrived: ip saddr 10.0.0.2 tcp sport 5432 ct mark 0x64630002 rst ct mark set 0x0`
		atServer = `arrived: ip saddr 10.0.0.1 tcp dport 5432 ct mark 0x64630003 rst ct mark set 0x0
arrived: ip saddr 10.0.0.1 tcp dport 5432 syn ct mark != 0x64630003 ct mark set 0x64630003 counter arrived-3 accept
arrived: ip saddr 10.0.0.1 tcp dport 5432 ct mark 0x64630003 ack ct mark set 0x64630004
refused: ip daddr 10.0.0.1 tcp sport 5432 ct mark 0x64630003 rst ct mark set 0x0`
		past = `route: mark 0x64630001 accept
guard: mark 0x64630001 ct mark set 0x64630001 accept
guard: ct mark 0x64630001 accept
guard: ip daddr 10.0.0.2 tcp dport 5432 syn ct mark != 0x64630002 ct mark set 0x64630002 counter direct-3 accept
guard: ip daddr 10.0.0.2 tcp dport 5432 ct mark 0x64630002 ack ct mark set 0x64630005
guard: ip daddr 10.0.0.2 tcp dport 5432 ct mark != 0x64630002 ct mark != 0x64630005 no rst counter early-3 accept
arrived: ip saddr 10.0.0.2 tcp sport 5432 ct mark 0x64630002 rst ct mark set 0x0`
		guarded = `route: mark 0x64630001 accept
route: ip daddr 10.0.0.2 tcp dport 5432 syn counter redirect-3 redirect to :40004
guard: mark 0x64630001 ct mark set 0x64630001 accept
guard: ct mark 0x64630001 accept
guard: ip daddr 10.0.0.2 tcp dport 5432 no rst counter guarded-3 drop
proof: ip daddr 10.0.0.2 tcp dport 5432 mark != 0x64630001 ct mark != 0x64630001 no rst counter passed-3 accept
arrived: ip saddr 10.0.0.2 tcp sport 5432 ct mark 0x64630002 rst ct mark set 0x0`
	)
	cut := func(k sketch, c agent.Cut) {
		c.Container, c.Against = "db-id", []string{"web"}
		k.cuts["c"] = &cut{Cut: c, index: 7}
	}
	for _, c := range []struct {
		name        string
		do          func(sketch)
		web, server string
	}{
		{"a link without toxics", func(sketch) {}, idle, atServer},
		{"a fault has closed the server's port", func(k sketch) { k.silent[door{"db-id", 5432}] = true }, past, atServer},
		{"a fault has closed another port", func(k sketch) { k.silent[door{"db-id", 5433}] = true }, idle, atServer},
		{"the link has a toxic", func(k sketch) { k.edge.guarding = true }, guarded, atServer},
		{"the link has a toxic and the server's port is closed", func(k sketch) {
			k.edge.guarding = true
			k.silent[door{"db-id", 5432}] = true
		}, guarded, atServer},
		{
			"a cut drops what comes in", func(k sketch) { cut(k, agent.Cut{In: true}) },
			past, "counts: ip saddr 10.0.0.1 counter cut-in-7\ncuts: ip saddr 10.0.0.1 drop\n" + atServer,
		},
		{
			"a cut rejects what goes out", func(k sketch) { cut(k, agent.Cut{Out: true, Reject: true}) },
			strings.Replace(past, "arrived:", `counts: ip saddr 10.0.0.2 tcp no rst counter cut-out-7
counts: ip saddr 10.0.0.2 not tcp not icmp counter cut-out-7
counts: ip saddr 10.0.0.2 icmp type != 3 counter cut-out-7
cuts: ip saddr 10.0.0.2 tcp no rst reject with tcp reset
cuts: ip saddr 10.0.0.2 not tcp not icmp reject
cuts: ip saddr 10.0.0.2 icmp type != 3 reject
arrived:`, 1), atServer,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newSketch("10.0.0.1/24", "10.0.0.2/24")
			c.do(k)
			if got := k.text(k.web); got != c.web {
				t.Errorf("client:\n%s\nwant\n%s", got, c.web)
			}
			if got := k.text(k.db); got != c.server {
				t.Errorf("server:\n%s\nwant\n%s", got, c.server)
			}
		})
	}
}

func TestIPv6IsRoutedOnlyWhereItCanEnter(t *testing.T) {
	const rule = "ip6 daddr fd00::2 tcp dport 5432 syn counter redirect-3 redirect to :40006"
	k := newSketch("10.0.0.1/24 fd00::1/64", "10.0.0.2/24 fd00::2/64")
	if got := k.text(k.web); !strings.Contains(got, rule) {
		t.Errorf("got\n%s\nwant %q in it", got, rule)
	}
	k.noteUnrouted()
	if len(k.edge.unrouted) > 0 {
		t.Errorf("unrouted %q, want nothing", k.edge.unrouted)
	}
	k.web.take(false, netip.MustParsePrefix("::1/128"), true)
	k.edge.guarding = true // what cannot enter the proxy is not stopped either
	if got := k.text(k.web); strings.Contains(got, "ip6") {
		t.Errorf("without ::1 there is a rule for IPv6:\n%s", got)
	}
	for range 2 {
		k.noteUnrouted()
	}
	if want := []string{"web has no ::1: its connections over IPv6 go past the proxy"}; !slices.Equal(k.edge.unrouted, want) {
		t.Errorf("unrouted %q, want %q", k.edge.unrouted, want)
	}
}

func TestACutOfIPv6LetsNeighboursBeFound(t *testing.T) {
	k := newSketch("fd00::1/64", "fd00::2/64")
	k.cuts["c"] = &cut{Cut: agent.Cut{Container: "db-id", Against: []string{"*"}, In: true}, index: 1}
	want := "cuts: ip6 saddr fd00::1 not icmpv6 drop\ncuts: ip6 saddr fd00::1 icmpv6 type < 133 drop\n"
	if got := k.text(k.db); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant in it\n%s", got, want)
	}
}
