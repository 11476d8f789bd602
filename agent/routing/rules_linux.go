package routing

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The marks. A packet of one of the proxy's own sockets carries own; so does, in conntrack, every packet of its connection,
// those that no socket sends (RST) included.
const (
	markOwn     = 0x6463_0001 // "dc", 1
	markDirect  = 0x6463_0002 // conntrack: let past the proxy on purpose
	markArrived = 0x6463_0003 // conntrack, at the server: counted
	markOpen    = 0x6463_0004 // conntrack, at the server: counted, and acknowledged by its client
	markPast    = 0x6463_0005 // conntrack: let past the proxy, and acknowledged by its client
)

// The chains of a namespace's table.
const (
	chainRoute   = "route"   // output: connections of links go to their listener
	chainGuard   = "guard"   // output: what goes to a server past the proxy
	chainProof   = "proof"   // postrouting: what left past the guard
	chainCounts  = "counts"  // input: what the cuts will stop, each cut counting for itself
	chainCuts    = "cuts"    // input: what a cut stops
	chainArrived = "arrived" // input: new connections from a link's clients
	chainRefused = "refused" // output: what a server refuses or resets
)

// chainSpecs lists the chains. Cuts come before everything else, conntrack included: what they stop leaves no trace.
func chainSpecs() []chainSpec {
	return []chainSpec{
		{chainRoute, nftables.ChainTypeNAT, nftables.ChainHookOutput, -150}, // before the -100 of the engine's own DNS rules
		{chainGuard, nftables.ChainTypeFilter, nftables.ChainHookOutput, 0},
		{chainProof, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, 300},
		{chainCounts, nftables.ChainTypeFilter, nftables.ChainHookInput, -301},
		{chainCuts, nftables.ChainTypeFilter, nftables.ChainHookInput, -300},
		{chainArrived, nftables.ChainTypeFilter, nftables.ChainHookInput, 0},
		{chainRefused, nftables.ChainTypeFilter, nftables.ChainHookOutput, 1},
	}
}

// builder collects the parts of one rule.
type builder struct {
	text  string
	exprs []expr.Any
}

func on() *builder { return &builder{} }

func (b *builder) add(text string, e ...expr.Any) *builder {
	if b.text != "" {
		b.text += " "
	}
	b.text += text
	b.exprs = append(b.exprs, e...)
	return b
}

func (b *builder) rule() rule { return rule{b.text, b.exprs} }

// cmp compares register 1 with data.
func cmp(op expr.CmpOp, data []byte) expr.Any { return &expr.Cmp{Op: op, Register: 1, Data: data} }

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

// address matches the source (at = 0) or the destination (at = 1) of packets of the address' family.
func (b *builder) address(a netip.Addr, at int) *builder {
	family, offset, size, word := byte(unix.NFPROTO_IPV4), uint32(12), uint32(4), "ip"
	if a.Is6() {
		family, offset, size, word = unix.NFPROTO_IPV6, 8, 16, "ip6"
	}
	what := word + " saddr "
	if at == 1 {
		offset += size
		what = word + " daddr "
	}
	return b.add(what+a.String(),
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{family}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}, cmp(expr.CmpOpEq, a.AsSlice()))
}

func (b *builder) tcp() *builder {
	return b.add("tcp", &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{unix.IPPROTO_TCP}))
}

// other matches packets that are not of a protocol.
func (b *builder) other(name string, protocol byte) *builder {
	return b.add("not "+name, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpNeq, []byte{protocol}))
}

// icmp matches ICMP messages, or ICMPv6 ones, by a comparison of their type.
func (b *builder) icmp(six bool, op expr.CmpOp, kind byte) *builder {
	name, protocol := "icmp", byte(unix.IPPROTO_ICMP)
	if six {
		name, protocol = "icmpv6", unix.IPPROTO_ICMPV6
	}
	sign := map[expr.CmpOp]string{expr.CmpOpNeq: "!=", expr.CmpOpLt: "<", expr.CmpOpGt: ">"}[op]
	return b.add(fmt.Sprintf("%s type %s %d", name, sign, kind),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{protocol}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, cmp(op, []byte{kind}))
}

// port matches the source (at = 0) or the destination port (at = 1) of TCP segments.
func (b *builder) port(p uint16, at uint32) *builder {
	return b.tcp().add(fmt.Sprintf("%s %d", [...]string{"sport", "dport"}[at], p),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2 * at, Len: 2}, cmp(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(p)))
}

// reset matches segments with the RST flag, or those without it.
func (b *builder) reset(with bool) *builder {
	op, text := expr.CmpOpNeq, "rst"
	if !with {
		op, text = expr.CmpOpEq, "no rst"
	}
	return b.add(text,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{4}, Xor: []byte{0}}, cmp(op, []byte{0}))
}

func (b *builder) mark(is uint32) *builder {
	return b.add(fmt.Sprintf("mark %#x", is), &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, cmp(expr.CmpOpEq, native(is)))
}

func (b *builder) markNot(is uint32) *builder {
	return b.add(fmt.Sprintf("mark != %#x", is), &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, cmp(expr.CmpOpNeq, native(is)))
}

func (b *builder) ctMark(is uint32) *builder {
	return b.add(fmt.Sprintf("ct mark %#x", is), &expr.Ct{Key: expr.CtKeyMARK, Register: 1}, cmp(expr.CmpOpEq, native(is)))
}

func (b *builder) ctMarkNot(is uint32) *builder {
	return b.add(fmt.Sprintf("ct mark != %#x", is), &expr.Ct{Key: expr.CtKeyMARK, Register: 1}, cmp(expr.CmpOpNeq, native(is)))
}

func (b *builder) setCtMark(to uint32) *builder {
	return b.add(fmt.Sprintf("ct mark set %#x", to),
		&expr.Immediate{Register: 1, Data: native(to)}, &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true})
}

// opening matches the segment that opens a connection: SYN without ACK. Conntrack's "new" will not do: it takes the first
// packet that it sees for one, also of a connection from before the rules.
func (b *builder) opening() *builder { return b.synAck("syn", 2) }

// acknowledged matches every later segment of who opened a connection: ACK without SYN.
func (b *builder) acknowledged() *builder { return b.synAck("ack", 16) }

// synAck compares the SYN and ACK flags.
func (b *builder) synAck(text string, flags byte) *builder {
	return b.add(text,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{2 | 16}, Xor: []byte{0}}, cmp(expr.CmpOpEq, []byte{flags}))
}

// outside matches source ports that the proxy's own connections do not have.
func (b *builder) outside(p *ports) *builder {
	first, last := uint16(p.first), uint16(p.first+p.count-1) //nolint:gosec // ports
	return b.add(fmt.Sprintf("sport not %d-%d", first, last),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: binaryutil.BigEndian.PutUint16(first), ToData: binaryutil.BigEndian.PutUint16(last)})
}

// heard matches segments that a socket is there for: a connection's, or a listener's.
func (b *builder) heard() *builder {
	return b.add("socket", &expr.Socket{Key: expr.SocketKeyTransparent, Register: 1})
}

func (b *builder) count(counter string) *builder {
	return b.add("counter "+counter, &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counter})
}

func (b *builder) accept() rule {
	return b.add("accept", &expr.Verdict{Kind: expr.VerdictAccept}).rule()
}

func (b *builder) drop() rule {
	return b.add("drop", &expr.Verdict{Kind: expr.VerdictDrop}).rule()
}

// rejectTCP answers with a reset; rejectOther with ICMP "administratively prohibited".
func (b *builder) rejectTCP() rule {
	return b.add("reject with tcp reset", &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}).rule()
}

func (b *builder) rejectOther() rule {
	return b.add("reject", &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}).rule()
}

// redirect sends a connection to a port of the loopback.
func (b *builder) redirect(port uint16) rule {
	return b.add(fmt.Sprintf("redirect to :%d", port),
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)}, &expr.Redir{RegisterProtoMin: 1}).rule()
}
