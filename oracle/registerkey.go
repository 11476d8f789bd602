package oracle

import (
	"math"
	"strconv"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// regKind is what an operation does to a register.
type regKind uint8

const (
	regGet    regKind = iota // value was read
	regMiss                  // a swap that found another value than from
	regWrite                 // sets value
	regSwap                  // sets value where it is from
	regDelete                // sets value 0
)

// regOp is an operation on one register. Values are numbers of the key's values; 0 is absent.
type regOp struct {
	op          int32 // in the history
	kind        regKind
	open        bool // it may take effect at any time after its call, or never; ret is the end of time
	from, value int32
	call, ret   int64
}

// reads is the value that an operation proves.
func (o *regOp) reads() (value int32, ok bool) {
	switch {
	case o.open:
		return 0, false
	case o.kind == regGet:
		return o.value, true
	case o.kind == regSwap:
		return o.from, true
	}
	return 0, false
}

// changes reports whether an operation sets the value.
func (o *regOp) changes() bool { return o.kind >= regWrite }

// regKey is what happened to one key.
type regKey struct {
	name    string
	ops     []regOp         // by call
	values  []int64         // by number
	refused map[int32]int32 // value → a write of it that failed
}

// scan sorts the operations by key.
func (c *registerCheck) scan() {
	c.interned = map[regNamed]int32{}
	for i := range c.ops {
		o := &c.ops[i]
		if o.Workload != c.workload {
			continue
		}
		if c.stopped(i) {
			return
		}
		switch o.Func {
		case ledger.FuncGet, ledger.FuncWrite, ledger.FuncCAS, ledger.FuncDelete:
			c.add(int32(i), o) //nolint:gosec // fewer than 2^31 operations fit into memory
		}
	}
}

func (c *registerCheck) add(i int32, o *ledger.Op) {
	at, ok := c.index[o.Key]
	if !ok {
		at = int32(len(c.keys)) //nolint:gosec // as many as operations
		c.index[o.Key] = at
		c.keys = append(c.keys, regKey{name: o.Key, values: []int64{0}})
	}
	k := &c.keys[at]
	r := regOp{op: i, call: o.Invoke, ret: max(o.Invoke, o.Complete)}
	if o.Func == ledger.FuncGet {
		if o.Outcome != ledger.OK {
			return
		}
		c.counts["reads"]++
		if o.Sum != 0 {
			c.corrupt(o, i)
			return
		}
		r.value = c.number(at, o.Value)
		k.ops = append(k.ops, r)
		return
	}
	var swap ledger.CAS
	if o.Func == ledger.FuncCAS && (o.Data != "" || o.Outcome == ledger.OK) {
		var err error
		if swap, err = decodeCAS(o); err != nil {
			c.doubt("operation %d (cas) cannot be read: %v", o.ID, err)
			return
		}
	}
	c.change(at, r, o, swap)
}

// change adds an operation that sets the value, or would have.
func (c *registerCheck) change(at int32, r regOp, o *ledger.Op, swap ledger.CAS) {
	k := &c.keys[at]
	r.kind = regWrite
	switch {
	case o.Func == ledger.FuncCAS && o.Outcome == ledger.Failed && swap.Mismatch:
		c.counts["mismatches"]++
		r.kind, r.from = regMiss, c.number(at, swap.From)
		k.ops = append(k.ops, r)
		return
	case o.Func == ledger.FuncCAS && o.Data != "": // without, it was never sent or never returned: a write, if anything
		r.kind, r.from, r.value = regSwap, c.number(at, swap.From), c.number(at, o.Value)
	case o.Func == ledger.FuncDelete || o.Value == 0:
		r.kind = regDelete
	default:
		r.value = c.number(at, o.Value)
	}
	c.tally(o)
	switch o.Outcome {
	case ledger.Failed:
		if r.value != 0 {
			if k.refused == nil {
				k.refused = map[int32]int32{}
			}
			k.refused[r.value] = r.op
		}
		return
	case ledger.Unknown:
		r.open, r.ret = true, math.MaxInt64
	case ledger.OK:
	}
	k.ops = append(k.ops, r)
}

// number is the number of a value of a key.
func (c *registerCheck) number(key int32, value int64) int32 {
	if value == 0 {
		return 0
	}
	id := regNamed{key, value}
	n, ok := c.interned[id]
	if !ok {
		k := &c.keys[key]
		n = int32(len(k.values)) //nolint:gosec // at most two for an operation
		c.interned[id] = n
		k.values = append(k.values, value)
	}
	return n
}

// decodeCAS reads the data of a swap; encoding/json would take most of the check's time.
func decodeCAS(o *ledger.Op) (ledger.CAS, error) {
	var out ledger.CAS
	if rest, ok := strings.CutPrefix(o.Data, `{"from":`); ok {
		rest, out.Mismatch = strings.CutSuffix(rest, `,"mismatch":true}`)
		if !out.Mismatch {
			rest = strings.TrimSuffix(rest, "}")
		}
		if n, err := strconv.ParseInt(rest, 10, 64); err == nil {
			out.From = n
			return out, nil
		}
	}
	out = ledger.CAS{}
	err := ledger.DecodeData(o, &out)
	return out, err
}

// readLast reports whether somebody looked at the key after its last acknowledged change had returned.
func (k *regKey) readLast(ops []ledger.Op) bool {
	last, read := int64(-1), int64(-1)
	for i := range k.ops {
		o := &k.ops[i]
		if o.changes() && !o.open {
			last = max(last, o.ret)
		}
		if _, ok := o.reads(); ok && ops[o.op].Func == ledger.FuncGet {
			read = max(read, o.call)
		}
	}
	return read > last || last < 0
}
