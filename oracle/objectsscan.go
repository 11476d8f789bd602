package oracle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// objPutMark marks the number of a put in shows of the put itself, which observes nothing.
const objPutMark = math.MinInt32

// scan sorts the operations by key: first what changes an object, then what shows it.
func (c *objectsCheck) scan() {
	c.of, c.shows = make([]int32, len(c.ops)), make([]int32, len(c.ops))
	var later []int32
	for i := range c.ops {
		o := &c.ops[i]
		c.of[i], c.shows[i] = -1, objNothing
		if o.Workload != c.workload {
			continue
		}
		if c.stopped(i) {
			return
		}
		n := int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		switch o.Func {
		case ledger.FuncPut:
			c.put(n, o)
		case ledger.FuncDelete:
			c.remove(n, o)
		case ledger.FuncGet, ledger.FuncHead, ledger.FuncList, ledger.FuncEnd:
			if o.Outcome == ledger.OK {
				later = append(later, n)
			}
		}
	}
	for _, i := range later {
		switch o := &c.ops[i]; o.Func {
		case ledger.FuncGet, ledger.FuncHead:
			c.read(i, o)
		case ledger.FuncEnd:
			c.ends = append(c.ends, i)
		}
	}
	c.order()
	for _, i := range later {
		if o := &c.ops[i]; o.Func == ledger.FuncList {
			c.list(i, o)
		}
	}
	byReturn := func(a, b int32) int { return cmp.Compare(c.ops[a].Complete, c.ops[b].Complete) }
	if !slices.IsSortedFunc(c.returns, byReturn) {
		slices.SortFunc(c.returns, byReturn)
	}
	c.finish(later)
}

// key is the number of a key.
func (c *objectsCheck) key(name string) int32 {
	n, ok := c.index[name]
	if !ok {
		n = int32(len(c.keys)) //nolint:gosec // as many as operations
		c.index[name] = n
		none := objFact{value: objNothing}
		c.keys = append(c.keys, objKey{name: name, top: [2]objFact{none, none}, lastRead: -1, lastList: -1, lastSeen: -1, lastGood: -1})
	}
	return n
}

func (c *objectsCheck) put(i int32, o *ledger.Op) {
	c.tally(o)
	key := c.key(o.Key)
	id := regNamed{key, o.Value}
	if first, twice := c.named[id]; twice {
		c.doubt("operations %d and %d put the same generation %d of key %s, so its fate cannot be told", c.ops[c.puts[first].op].ID, o.ID, o.Value, o.Key)
		return
	}
	data, err := decodeObject(o)
	if err != nil {
		c.doubt("operation %d (put) cannot be read: %v", o.ID, err)
		return
	}
	n := int32(len(c.puts)) //nolint:gosec // as many as operations
	p := objPut{op: i, size: -1, sure: math.MaxInt64, proof: -1}
	if data.Size != nil {
		p.size = *data.Size
	}
	k := &c.keys[key]
	switch o.Outcome {
	case ledger.OK:
		p.fate = isAcked
		c.of[i], c.shows[i] = key, n^objPutMark
		c.returns = append(c.returns, i)
		k.puts = appendSpan(k.puts, objSpan{call: o.Invoke, ret: o.Complete, put: n})
		k.changed(o, false)
	case ledger.Failed:
		p.fate = isFailed
	case ledger.Unknown:
		k.openPuts = append(k.openPuts, n)
	}
	c.named[id] = n
	c.puts = append(c.puts, p)
}

func (c *objectsCheck) remove(i int32, o *ledger.Op) {
	c.tally(o)
	key := c.key(o.Key)
	k := &c.keys[key]
	switch o.Outcome {
	case ledger.OK:
		c.of[i] = key
		c.returns = append(c.returns, i)
		k.deletes = appendSpan(k.deletes, objSpan{call: o.Invoke, ret: o.Complete})
		k.changed(o, true)
	case ledger.Unknown:
		k.open = append(k.open, objSpan{call: o.Invoke})
	case ledger.Failed:
	}
}

func (k *objKey) changed(o *ledger.Op, gone bool) {
	if o.Complete > k.change.ret {
		k.change, k.gone = objSpan{call: o.Invoke, ret: o.Complete}, gone
	}
}

// appendSpan adds the span that was called last.
func appendSpan(list []objSpan, s objSpan) []objSpan {
	s.last = s.ret
	if len(list) > 0 {
		s.last = max(s.last, list[len(list)-1].last)
	}
	return append(list, s)
}

// insertSpan adds a span where its call belongs.
func insertSpan(list []objSpan, s objSpan) []objSpan {
	at, _ := slices.BinarySearchFunc(list, s.call, func(s objSpan, call int64) int { return cmp.Compare(s.call, call) })
	rest := slices.Clone(list[at:])
	list = appendSpan(list[:at], s)
	for _, r := range rest {
		list = appendSpan(list, r)
	}
	return list
}

// possible reports whether one of the spans, which are sorted by call, has a part between two instants.
func possible(list []objSpan, from, until int64) bool {
	n, _ := slices.BinarySearchFunc(list, until, func(s objSpan, at int64) int { return cmp.Or(cmp.Compare(s.call, at), -1) })
	return n > 0 && list[n-1].last >= from
}

// order sorts the keys by name, so that those below a prefix stand together.
func (c *objectsCheck) order() {
	c.sorted = make([]int32, len(c.keys))
	c.stamp = make([]int32, len(c.keys))
	for i := range c.sorted {
		c.sorted[i] = int32(i) //nolint:gosec // as many as operations
	}
	slices.SortFunc(c.sorted, func(a, b int32) int { return strings.Compare(c.keys[a].name, c.keys[b].name) })
}

// below are the keys that begin with a prefix.
func (c *objectsCheck) below(prefix string) []int32 {
	from, _ := slices.BinarySearchFunc(c.sorted, prefix, func(k int32, p string) int { return strings.Compare(c.keys[k].name, p) })
	n, _ := slices.BinarySearchFunc(c.sorted[from:], prefix, func(k int32, p string) int {
		if strings.HasPrefix(c.keys[k].name, p) {
			return -1
		}
		return 1
	})
	return c.sorted[from : from+n]
}

func (c *objectsCheck) list(i int32, o *ledger.Op) {
	c.counts["lists"]++
	names, err := decodeNames(o.Data)
	if err != nil {
		c.doubt("operation %d (list) cannot be read: %v", o.ID, err)
		return
	}
	l := &objList{keys: make([]int32, 0, len(names))}
	for _, name := range names {
		key, ok := c.index[name]
		switch {
		case !ok || !strings.HasPrefix(name, o.Key):
			c.phantom(i, fmt.Sprintf("%s shows key %q", c.subject(i), name), 0, false)
		case c.present(i, key, ledger.Object{}) == objPresent:
			l.keys = append(l.keys, key)
		default: // never put: nothing more is said of it
		}
	}
	c.lists[i] = l
	c.returns = append(c.returns, i)
}

// finish marks the operations of the final reads: what the process of an end read before it, up to its last change.
func (c *objectsCheck) finish(reads []int32) {
	if len(c.ends) == 0 {
		return
	}
	changed := map[int]int32{}
	for i := range c.ops {
		if o := &c.ops[i]; o.Workload == c.workload && (o.Func == ledger.FuncPut || o.Func == ledger.FuncDelete) {
			changed[o.Process] = int32(i) //nolint:gosec // fewer than 2^31 operations fit into memory
		}
	}
	last := map[int]int32{}
	for _, i := range c.ends {
		last[c.ops[i].Process] = i
	}
	for _, i := range reads {
		o := &c.ops[i]
		end, ok := last[o.Process]
		after, did := changed[o.Process]
		if ok && i < end && (!did || i > after) {
			c.final[i] = true
		}
	}
}

// decodeNames reads an array of texts; encoding/json is slow, and most have nothing that it is needed for.
func decodeNames(data string) ([]string, error) {
	var names []string
	if rest, ok := strings.CutPrefix(data, `["`); ok && !strings.Contains(data, `\`) {
		if rest, ok = strings.CutSuffix(rest, `"]`); ok {
			if names = strings.Split(rest, `","`); !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, `"`) }) {
				return names, nil
			}
		}
	}
	names = nil
	if err := json.Unmarshal([]byte(data), &names); err != nil {
		return nil, fmt.Errorf("decode keys: %w", err)
	}
	return names, nil
}

// decodeObject reads the data of an operation on an object; encoding/json would take most of the check's time.
func decodeObject(o *ledger.Op) (ledger.Object, error) {
	if o.Data == "" {
		return ledger.Object{}, nil
	}
	if rest, ok := strings.CutPrefix(o.Data, `{"size":`); ok {
		digits, more, _ := strings.Cut(strings.TrimSuffix(rest, "}"), ",")
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && more == "" {
			return ledger.Object{Size: &n}, nil
		}
	}
	var out ledger.Object
	err := ledger.DecodeData(o, &out)
	return out, err
}
