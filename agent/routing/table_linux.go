package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ownerFlag is NFT_TABLE_F_OWNER of the kernel's nf_tables.h: the table belongs to the socket that made it and goes with it.
const ownerFlag = 2

// rule is one rule of a chain. Its text identifies it: two rules of the same text do the same.
type rule struct {
	text  string
	exprs []expr.Any
}

// chainSpec is one base chain of a table.
type chainSpec struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
}

// table is the nftables table of one namespace. It is not safe for concurrent use.
type table struct {
	conn     *nftables.Conn
	raw      *netlink.Conn // below conn
	t        *nftables.Table
	owned    bool // it vanishes with conn
	chains   map[string]*nftables.Chain
	rules    map[string][]string // chain → texts of its rules now
	counters map[string]bool
}

// mostBytes is room for some 10 000 rules.
const mostBytes = 8 << 20

// openTable makes the table of a namespace, given as a descriptor of it. A table of that name that somebody left there is
// replaced.
func openTable(ns *os.File, name string) (*table, error) { return openTableBy(ns, name, ownTable) }

// openTableBy is openTable with another way to make an owned table.
func openTableBy(ns *os.File, name string, own func(*netlink.Conn, string) error) (*table, error) {
	var raw *netlink.Conn
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())), nftables.AsLasting(),
		nftables.WithSockOptions(func(c *netlink.Conn) error { raw = c; return nil }))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	t := &table{
		conn: conn, raw: raw, t: &nftables.Table{Family: nftables.TableFamilyINet, Name: name},
		chains: map[string]*nftables.Chain{}, rules: map[string][]string{}, counters: map[string]bool{},
	}
	// All rules of a namespace are one message, and each has an answer. Where the kernel does not allow it, fewer rules fit.
	_, _ = raw.SetWriteBuffer(mostBytes), raw.SetReadBuffer(mostBytes)
	if err := t.create(own); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	return t, nil
}

// create makes the table, owned by the socket where the kernel knows that.
func (t *table) create(own func(*netlink.Conn, string) error) error {
	conn := t.conn
	if err := t.sweep(); err != nil {
		return err
	}
	conn.AddTable(t.t) // so that the deletion below finds one
	conn.DelTable(t.t)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete table %s: %w", t.t.Name, err)
	}
	err := own(t.raw, t.t.Name)
	t.owned = err == nil
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) { // before 5.12: a sweep finds it by its name
		conn.AddTable(t.t)
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("make table %s: %w", t.t.Name, err)
	}
	return nil
}

// prefix is what the names of our tables begin with.
const prefix = "discompose_"

// sweep removes the tables that a process left that has been killed, on a kernel without owners. One that belongs to a
// process that is there cannot be removed.
func (t *table) sweep() error {
	list, err := t.conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, x := range list {
		if !strings.HasPrefix(x.Name, prefix) {
			continue
		}
		t.conn.DelTable(x)
		if err := t.flush(); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("delete stale table %s: %w", x.Name, err)
		}
	}
	return nil
}

// ownTable sends the one message that the library cannot: a new table with the owner flag.
func ownTable(c *netlink.Conn, name string) error {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, ownerFlag)},
	})
	if err != nil {
		return err
	}
	// struct nfgenmsg: family, version, resource id in network order.
	header := func(family byte, resource uint16) []byte {
		return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	}
	batch := []netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: header(0, unix.NFNL_SUBSYS_NFTABLES)},
		{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
			Data:   append(header(unix.NFPROTO_INET, 0), attrs...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: header(0, unix.NFNL_SUBSYS_NFTABLES)},
	}
	if _, err := c.SendMessages(batch); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	_, err = c.Receive()
	return err
}

// render gives each chain the rules that are wanted, in one transaction, and makes counters that are new. Chains that have
// them already are left alone; one whose rules are only to be added to is added to, because taking rules away costs the
// kernel some 12 ms and adding costs less than one. After an error nothing has changed.
func (t *table) render(chains []chainSpec, want map[string][]rule, counters []string) error {
	hadChains, hadCounters := maps.Clone(t.chains), maps.Clone(t.counters)
	changed := map[string][]string{}
	for _, spec := range chains {
		rules := want[spec.name]
		texts := make([]string, 0, len(rules))
		for _, r := range rules {
			texts = append(texts, r.text)
		}
		have := t.rules[spec.name]
		if slices.Equal(have, texts) {
			continue
		}
		changed[spec.name] = texts
		chain := t.chain(spec)
		first := 0
		if len(have) <= len(texts) && slices.Equal(have, texts[:len(have)]) {
			first = len(have)
		} else {
			t.conn.FlushChain(chain)
		}
		for _, c := range counters {
			t.counter(c)
		}
		counters = nil
		for _, r := range rules[first:] {
			t.conn.AddRule(&nftables.Rule{Table: t.t, Chain: chain, Exprs: r.exprs})
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := t.flush(); err != nil {
		t.chains, t.counters = hadChains, hadCounters
		return fmt.Errorf("write rules of table %s: %w", t.t.Name, err)
	}
	for name, texts := range changed {
		t.rules[name] = texts
	}
	return nil
}

// answersWithin bounds the wait for the kernel's answers, which are there when it has taken what was sent: fewer than the
// library waits for come when it runs out of memory.
const answersWithin = 5 * time.Second

// flush sends what is queued. The library stops at the first error: what answers are left would be taken for those to the
// next request.
func (t *table) flush() error {
	wait := func(d time.Duration) { _ = t.raw.SetReadDeadline(time.Now().Add(d)) } // fails on a closed socket only
	wait(answersWithin)
	err := t.conn.Flush()
	if err != nil {
		wait(10 * time.Millisecond)
		for range maxAnswers {
			if _, rerr := t.raw.Receive(); errors.Is(rerr, os.ErrDeadlineExceeded) || errors.Is(rerr, os.ErrClosed) {
				break
			}
		}
	}
	_ = t.raw.SetReadDeadline(time.Time{}) // as above
	return err
}

// maxAnswers bounds how many answers are thrown away.
const maxAnswers = 100_000

func (t *table) chain(s chainSpec) *nftables.Chain {
	if c := t.chains[s.name]; c != nil {
		return c
	}
	priority := s.priority
	c := t.conn.AddChain(&nftables.Chain{Name: s.name, Table: t.t, Type: s.kind, Hooknum: s.hook, Priority: &priority})
	t.chains[s.name] = c
	return c
}

func (t *table) counter(name string) {
	if t.counters[name] {
		return
	}
	t.counters[name] = true
	t.conn.AddObj(&nftables.CounterObj{Table: t.t, Name: name})
}

// read returns the packets of each counter.
func (t *table) read() (map[string]int64, error) {
	out := map[string]int64{}
	if len(t.counters) == 0 {
		return out, nil
	}
	objs, err := t.conn.GetObjects(t.t)
	if err != nil {
		return nil, fmt.Errorf("read counters of table %s: %w", t.t.Name, err)
	}
	for _, o := range objs {
		if c, ok := o.(*nftables.CounterObj); ok {
			out[c.Name] = int64(c.Packets) //nolint:gosec // a count of packets fits
		}
	}
	return out, nil
}

// close removes the table.
func (t *table) close() error {
	if !t.owned {
		t.conn.DelTable(t.t)
		if err := t.conn.Flush(); err != nil {
			return errors.Join(fmt.Errorf("delete table %s: %w", t.t.Name, err), t.conn.CloseLasting())
		}
	}
	return t.conn.CloseLasting()
}
