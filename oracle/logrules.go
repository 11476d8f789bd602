package oracle

import (
	"slices"

	"github.com/discompose/discompose/ledger"
)

// walk goes through one partition's final read in the order of offsets.
func (l *logCheck) walk(p *logPart) {
	type tail struct {
		value int64
		op    int32
	}
	newest := map[int64]tail{} // producer → its highest acknowledged value so far
	for i, r := range p.reads {
		if l.stopped(i) {
			return
		}
		o := &l.ops[r.op]
		if o.Sum != 0 {
			l.corrupt(r.op)
		}
		n, sent := l.sent[o.Value]
		if !sent {
			if o.Sum == 0 { // a corrupt body may have lost its value
				l.broke(rulePhantom, o.Invoke, r.op)
			}
			continue
		}
		v := &l.values[n]
		send := &l.ops[v.op]
		v.atAck = v.atAck || (send.Partition == o.Partition && send.Offset == o.Offset)
		switch {
		case v.fate == isFailed && v.read < 0:
			l.unwanted(v, instant(send), r.op)
		case v.read >= 0:
			l.broke(ruleDuplicate, instant(send), v.op, v.read, r.op)
			continue
		}
		v.read = r.op
		if v.fate != isAcked {
			continue
		}
		producer := o.Value >> 32
		if t, ok := newest[producer]; ok && t.value > o.Value {
			l.broke(ruleSequence, instant(send), l.values[l.sent[t.value]].op, v.op, t.op, r.op)
			continue
		}
		newest[producer] = tail{o.Value, r.op}
	}
}

// corrupt reports a body that is not what its value derives.
func (l *logCheck) corrupt(op int32) {
	o := &l.ops[op]
	if n, ok := l.sent[o.Value]; ok {
		send := l.values[n].op
		l.broke(ruleBody, instant(&l.ops[send]), send, op)
		return
	}
	l.broke(ruleBody, o.Invoke, op)
}

// ended reports whether every partition was read to its end, so that what was not found is in none.
func (l *logCheck) ended() bool {
	for _, p := range l.parts {
		if p.endOp < 0 {
			return false
		}
	}
	return len(l.parts) > 0
}

// settle looks at every acknowledged value once all partitions were walked.
func (l *logCheck) settle() {
	ended := l.ended()
	for _, p := range l.sorted() {
		if p.endOp < 0 && p.acked > 0 {
			l.doubt("the final read of partition %d of %s has no end, so its %d acknowledged records are unproven", p.number, l.workload, p.acked)
		}
	}
	homeless := 0
	for i := range l.values {
		v := &l.values[i]
		if v.fate != isAcked {
			continue
		}
		if l.stopped(i) {
			return
		}
		send := &l.ops[v.op]
		known := send.Partition >= 0 && send.Offset >= 0
		switch {
		case v.read >= 0 && known && !v.atAck:
			l.broke(rulePosition, instant(send), v.op, v.read)
		case v.read >= 0:
		case send.Partition >= 0 && l.parts[send.Partition].endOp >= 0:
			l.lose(l.parts[send.Partition], v.op)
		case send.Partition < 0 && ended:
			l.broke(ruleLost, instant(send), v.op)
		case send.Partition < 0:
			homeless++
		}
	}
	if homeless > 0 {
		l.doubt("%d acknowledged records of %s name no partition, and not every partition was read to its end", homeless, l.workload)
	}
}

// lose reports an acknowledged value that the final read of its partition did not find, with what stands in its place.
func (l *logCheck) lose(p *logPart, send int32) {
	o := &l.ops[send]
	i, there := slices.BinarySearchFunc(p.reads, o.Offset, func(r place, offset int64) int { return compareInt(r.offset, offset) })
	ops := []int32{send}
	switch {
	case o.Offset < 0:
	case there:
		at := &l.ops[p.reads[i].op]
		if _, sent := l.sent[at.Value]; at.Sum != 0 && !sent {
			return // it is there, and reported as corrupt
		}
		ops = append(ops, p.reads[i].op)
	default:
		p.lost = append(p.lost, o.Offset)
		if i > 0 {
			ops = append(ops, p.reads[i-1].op)
		}
		if i < len(p.reads) {
			ops = append(ops, p.reads[i].op)
		} else {
			ops = append(ops, p.endOp)
		}
	}
	l.broke(ruleLost, instant(o), ops...)
}

// gaps reports runs of offsets that the final read did not find, unless a lost acknowledged value explains them.
func (l *logCheck) gaps(p *logPart) {
	if p.endOp < 0 || len(l.txns.list) > 0 {
		return
	}
	slices.Sort(p.lost)
	next, before := int64(0), int32(-1)
	missing := func(until int64, after int32) {
		if i, _ := slices.BinarySearch(p.lost, next); next >= until || (i < len(p.lost) && p.lost[i] < until) {
			return
		}
		ops := []int32{after}
		at := l.ops[after].Invoke
		if before >= 0 {
			ops = append(ops, before)
			at = l.sentAt(before)
		}
		if after != p.endOp {
			ops = append(ops, p.endOp)
		}
		l.brokeOver(ruleGap, at, next, until-1, ops...)
	}
	for _, r := range p.reads {
		if r.offset >= p.end {
			break
		}
		missing(r.offset, r.op)
		next, before = r.offset+1, r.op
	}
	missing(p.end, p.endOp)
}

// polls compares what a consumer group was handed with the final read.
func (l *logCheck) polls(p *logPart) {
	i := 0 // the read at, or behind, the poll's offset
	for n, d := range p.polls {
		if l.stopped(n) {
			return
		}
		again := n > 0 && p.polls[n-1].offset == d.offset
		if !again {
			p.found++
		}
		if again && l.ops[p.polls[n-1].op].Value == l.ops[d.op].Value && l.ops[d.op].Sum == l.ops[p.polls[n-1].op].Sum {
			continue // one offset delivered again
		}
		for i < len(p.reads) && p.reads[i].offset < d.offset {
			if n > 0 {
				l.skipped(p.reads[i], p.polls[n-1], d)
			}
			i++
		}
		l.handed(p, d, i)
		if i < len(p.reads) && p.reads[i].offset == d.offset {
			i++
		}
	}
}

// skipped reports an acknowledged record between two deliveries that was itself never delivered.
func (l *logCheck) skipped(r, before, after place) {
	n, sent := l.sent[l.ops[r.op].Value]
	if !sent || l.values[n].fate != isAcked || l.values[n].read != r.op {
		return
	}
	l.broke(ruleSkipped, l.ops[after.op].Invoke, l.values[n].op, r.op, before.op, after.op)
}

// handed judges one delivery; i is the place in reads at or behind its offset.
func (l *logCheck) handed(p *logPart, d place, i int) {
	o := &l.ops[d.op]
	n, sent := l.sent[o.Value]
	switch {
	case o.Sum != 0:
		l.corrupt(d.op)
		return
	case !sent:
		l.broke(rulePhantom, o.Invoke, d.op)
		return
	}
	v := &l.values[n]
	if v.fate == isFailed && v.read < 0 {
		l.unwanted(v, o.Invoke, d.op)
	}
	if p.endOp < 0 || d.offset >= p.end {
		return // the final read did not come this far
	}
	if i > 0 && p.reads[i-1].offset == d.offset {
		i-- // a second delivery of the offset, with another value
	}
	at := int32(-1)
	if i < len(p.reads) && p.reads[i].offset == d.offset {
		at = p.reads[i].op
	}
	switch {
	case at >= 0 && (l.ops[at].Value == o.Value || l.ops[at].Sum != 0):
	case v.read >= 0:
		l.broke(ruleMoved, o.Invoke, v.op, d.op, v.read)
	case v.fate != isAcked: // the loss of an acknowledged one is reported already
		if at < 0 {
			at = p.endOp
		}
		l.broke(ruleTakenBack, o.Invoke, v.op, d.op, at)
	}
}

// instant is when an operation took effect, as near as is known.
func instant(o *ledger.Op) int64 {
	if o.Complete > 0 {
		return o.Complete
	}
	return o.Invoke
}

// sentAt is when the value that a read found was sent, or the instant of the read.
func (l *logCheck) sentAt(read int32) int64 {
	if n, ok := l.sent[l.ops[read].Value]; ok {
		return instant(&l.ops[l.values[n].op])
	}
	return l.ops[read].Invoke
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
