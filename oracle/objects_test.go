package oracle_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// objects simulates an object store that keeps its promises; one that lags shows what was, until the final read.
type objects struct {
	*system

	keys             int
	lagReads, lagSet bool
	state            map[string]int64
	was              []map[string]int64
	gens             map[string]int64
	heads            int // 0: heads tell the generation, 1: the size, 2: that it exists
}

func size(gen int64) int64 { return 100 + gen%7 }

func (s *objects) store(key string, gen int64) {
	if s.lagReads || s.lagSet {
		s.was = append(s.was, cloneMap(s.state))
	}
	if gen == 0 {
		delete(s.state, key)
	} else {
		s.state[key] = gen
	}
}

func cloneMap(m map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// view is the state that is shown now.
func (s *objects) view(lag bool) map[string]int64 {
	if n := len(s.was); lag && n > 0 && s.r.IntN(2) == 0 {
		return s.was[s.r.IntN(n)]
	}
	return s.state
}

func list(state map[string]int64, prefix string) string {
	names := []string{}
	for k := range state {
		if strings.HasPrefix(k, prefix) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	raw, err := json.Marshal(names)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func (s *objects) next(int) (ledger.Op, func(*ledger.Op)) {
	key := fmt.Sprintf("%c/%d", 'a'+rune(s.r.IntN(2)), s.r.IntN(s.keys))
	switch n := s.r.IntN(14); {
	case n < 4:
		s.gens[key]++
		n := size(s.gens[key])
		return ledger.Op{Func: ledger.FuncPut, Key: key, Value: s.gens[key], Data: ledger.EncodeData(ledger.Object{Size: &n})}, func(o *ledger.Op) { s.store(key, o.Value) }
	case n < 6:
		return ledger.Op{Func: ledger.FuncDelete, Key: key}, func(*ledger.Op) { s.store(key, 0) }
	case n < 10:
		part := n == 9
		return ledger.Op{Func: ledger.FuncGet, Key: key}, func(o *ledger.Op) { s.get(o, part) }
	case n < 12:
		return ledger.Op{Func: ledger.FuncHead, Key: key}, s.head
	}
	prefix := []string{"", "a/", "b/", "b/1"}[s.r.IntN(4)]
	return ledger.Op{Func: ledger.FuncList, Key: prefix}, func(o *ledger.Op) { o.Data = list(s.view(s.lagSet), prefix) }
}

func (s *objects) get(o *ledger.Op, part bool) {
	o.Value = s.view(s.lagReads)[o.Key]
	if o.Value == 0 {
		return
	}
	n := size(o.Value)
	data := ledger.Object{Size: &n}
	if part {
		data.Range = &[2]int64{10, 20}
	}
	o.Data = ledger.EncodeData(data)
}

func (s *objects) head(o *ledger.Op) {
	gen := s.view(s.lagReads)[o.Key]
	n, there := size(gen), gen > 0
	switch {
	case s.heads == 2:
		o.Data = ledger.EncodeData(ledger.Object{Exists: &there})
	case !there:
	case s.heads == 1:
		o.Data = ledger.EncodeData(ledger.Object{Size: &n})
	default:
		o.Value, o.Data = gen, ledger.EncodeData(ledger.Object{Size: &n})
	}
}

func objectsHistory(lagReads, lagSet bool) func(t *rapid.T) *ledger.History {
	return func(t *rapid.T) *ledger.History {
		s := &objects{system: drawSystem(t), lagReads: lagReads, lagSet: lagSet, state: map[string]int64{}, gens: map[string]int64{}}
		s.keys, s.heads = rapid.IntRange(1, 4).Draw(t, "keys"), rapid.IntRange(0, 2).Draw(t, "heads")
		clients := rapid.IntRange(1, 6).Draw(t, "clients")
		s.run(clients, rapid.IntRange(1, 40).Draw(t, "operations of a client"), s.next)
		s.lagReads, s.lagSet = false, false
		for _, prefix := range []string{"a/", "b/"} {
			for i := range s.keys {
				o := ledger.Op{Func: ledger.FuncGet, Key: fmt.Sprint(prefix, i), Process: clients}
				s.get(&o, false)
				s.final(o)
			}
		}
		s.final(ledger.Op{Func: ledger.FuncList, Data: list(s.state, ""), Process: clients},
			ledger.Op{Func: ledger.FuncEnd, Offset: int64(len(s.state)), Process: clients})
		return s.history()
	}
}

func TestObjectsAcceptsLegalHistories(t *testing.T) {
	t.Parallel()
	acceptsLegal(t, &oracle.Objects{}, objectsHistory(false, false))
	acceptsLegal(t, &oracle.Objects{Reads: "eventual"}, objectsHistory(true, false))
	acceptsLegal(t, &oracle.Objects{List: "eventual"}, objectsHistory(false, true))
	acceptsLegal(t, &oracle.Objects{Reads: "eventual", List: "eventual"}, objectsHistory(true, true))
}

func TestObjectsConvictsEveryMutation(t *testing.T) {
	t.Parallel()
	convictsMutants(t, &oracle.Objects{}, objectsHistory(false, false))
	convictsMutants(t, &oracle.Objects{Reads: "eventual"}, objectsHistory(true, false))
	convictsMutants(t, &oracle.Objects{List: "eventual"}, objectsHistory(false, true))
	convictsMutants(t, &oracle.Objects{Reads: "eventual", List: "eventual"}, objectsHistory(true, true))
}

// objectsOps is one key that is put, overwritten, deleted and put again, another one that stays, a put that failed and one of
// unknown fate that landed.
func objectsOps() []ledger.Op {
	sized := func(n int64) string { return ledger.EncodeData(ledger.Object{Size: &n}) }
	return script(
		ledger.Op{Func: ledger.FuncPut, Key: "a", Value: 1, Data: sized(10)},
		ledger.Op{Func: ledger.FuncPut, Key: "b", Value: 1, Data: sized(10)},
		ledger.Op{Func: ledger.FuncGet, Key: "a", Value: 1, Data: sized(10)},
		ledger.Op{Func: ledger.FuncPut, Key: "a", Value: 2, Data: sized(20)},
		ledger.Op{Func: ledger.FuncGet, Key: "a", Value: 2, Data: `{"size":20,"range":[5,9]}`},
		ledger.Op{Func: ledger.FuncList, Data: `["a","b"]`},
		ledger.Op{Func: ledger.FuncDelete, Key: "a"},
		ledger.Op{Func: ledger.FuncGet, Key: "a"},
		ledger.Op{Func: ledger.FuncList, Data: `["b"]`},
		ledger.Op{Func: ledger.FuncPut, Key: "a", Value: 3, Data: sized(30), Outcome: ledger.Unknown},
		ledger.Op{Func: ledger.FuncPut, Key: "a", Value: 4, Data: sized(40), Outcome: ledger.Failed, Error: "refused"},
		ledger.Op{Func: ledger.FuncHead, Key: "a", Value: 3, Data: sized(30)},
		ledger.Op{Func: ledger.FuncHead, Key: "b", Data: `{"exists":true}`},
		ledger.Op{Func: ledger.FuncGet, Key: "a", Value: 3, Data: sized(30), Process: 9},
		ledger.Op{Func: ledger.FuncGet, Key: "b", Value: 1, Data: sized(10), Process: 9},
		ledger.Op{Func: ledger.FuncList, Data: `["a","b"]`, Process: 9},
		ledger.Op{Func: ledger.FuncEnd, Offset: 2, Process: 9},
	)
}

func TestObjectsNamesTheBrokenPromise(t *testing.T) {
	t.Parallel()
	set := func(id int, value int64, data string) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) { (*ops)[id-1].Value, (*ops)[id-1].Data = value, data }
	}
	all := func(changes ...func(*[]ledger.Op)) func(*[]ledger.Op) {
		return func(ops *[]ledger.Op) {
			for _, change := range changes {
				change(ops)
			}
		}
	}
	convicts(t, &oracle.Objects{}, objectsOps, []conviction{
		{"a lost object", all(set(15, 0, ""), set(16, 0, `["a"]`)), oracle.DataLoss, "what was acknowledged, or read, is not lost", "operation 15 (get) found key b absent, though operation 13 (head) found it there before, and nothing after that shows it", []int64{13, 15}, 2},
		{"a version of unknown fate that was read and is lost", set(14, 2, ""), oracle.DataLoss, "what was acknowledged, or read, is not lost", "operation 14 (get) found generation 2 of key a, though operation 12 (head) found generation 3 before, and nothing after that shows it", []int64{4, 10, 12, 14}, 1},
		{"an overwrite that is lost", all(set(5, 1, ""), func(ops *[]ledger.Op) { *ops = (*ops)[:6] }), oracle.DataLoss, "what was acknowledged, or read, is not lost", "operation 5 (get) found generation 1 of key a, though operation 4 (put) had put generation 2 before, and nothing after that shows it", []int64{1, 4, 5}, 1},
		{"a stale read", set(5, 1, ""), oracle.Stale, "a read is not older than what was acknowledged, or read, before it", "operation 5 (get) found generation 1 of key a, though operation 4 (put) had put generation 2 before", []int64{1, 4, 5}, 1},
		{"a read that goes back behind another one", all(set(5, 2, ""), func(ops *[]ledger.Op) {
			(*ops)[3].Outcome = ledger.Unknown
			(*ops)[6].Func, (*ops)[6].Value = ledger.FuncGet, 1
		}), oracle.Stale, "a read is not older than what was acknowledged, or read, before it", "operation 7 (get) found generation 1 of key a, though operation 5 (get) found generation 2 before", []int64{1, 4, 5, 7}, 3},
		{"an object that is missing for a while", set(5, 0, ""), oracle.Stale, "a read is not older than what was acknowledged, or read, before it", "operation 5 (get) found key a absent, though operation 4 (put) had put generation 2 before", []int64{4, 5}, 1},
		{"an object that a list misses", set(6, 0, `["a"]`), oracle.Stale, "a list has every object that is there", "operation 6 (list) misses key b, though operation 2 (put) had put generation 1 before", []int64{2, 6}, 1},
		{"a deleted object", set(8, 2, ""), oracle.Resurrected, "a deleted object does not come back", "operation 8 (get) found generation 2 of key a, though operation 7 (delete) had deleted it before", []int64{4, 7, 8}, 1},
		{"a deleted object in a list", set(9, 0, `["a","b"]`), oracle.Resurrected, "a list has no object that was deleted", "operation 9 (list) shows key a, though operation 8 (get) found it absent before", []int64{8, 9}, 1},
		{"a put of unknown fate that was read before the delete", func(ops *[]ledger.Op) {
			o := &(*ops)[12]
			o.Func, o.Key, o.Data = ledger.FuncDelete, "a", ""
			set(14, 0, "")(ops)
		}, oracle.Resurrected, "a list has no object that was deleted", "operation 16 (list) shows key a, though operation 14 (get) found it absent before", []int64{14, 16}, 1},
		{"one delete of unknown fate for two absences", all(func(ops *[]ledger.Op) { (*ops)[6].Outcome, (*ops)[6].Complete = ledger.Unknown, 0 }, func(ops *[]ledger.Op) {
			(*ops)[9].Outcome, (*ops)[9].Complete = ledger.OK, (*ops)[9].Invoke+1
		}, set(12, 0, "")), oracle.Stale, "a read is not older than what was acknowledged, or read, before it", "operation 12 (head) found key a absent, though operation 10 (put) had put generation 3 before", []int64{10, 12}, 1},
		{"a generation that nobody put", set(5, 9, ""), oracle.Phantom, "nothing is there that was never put", "operation 5 (get) found generation 9 of key a, which was never put", []int64{5}, 1},
		{"a generation before it was put", set(5, 3, ""), oracle.Phantom, "nothing is there that was never put", "which operation 10 put only later", []int64{5, 10}, 1},
		{"a put that failed", set(14, 4, ""), oracle.Phantom, "a put that failed has no effect", "operation 14 (get) found generation 4 of key a, though operation 11, which put it, failed (refused)", []int64{11, 14}, 1},
		{"a key that nobody put", set(9, 0, `["b","c"]`), oracle.Phantom, "nothing is there that was never put", `operation 9 (list) shows key "c", which was never put`, []int64{9}, 1},
		{"wrong bytes", func(ops *[]ledger.Op) { (*ops)[4].Sum = 255 }, oracle.Corruption, "an object comes back with the bytes that were put", "operation 5 (get) found wrong bytes in key a (CRC-32C 000000ff, generation 2, bytes 5 to 9)", []int64{4, 5}, 1},
		{"a wrong size", set(14, 3, `{"size":31}`), oracle.Corruption, "an object comes back with the bytes that were put", "operation 14 (get) found generation 3 of key a to be 31 bytes long, and 30 were put", []int64{10, 14}, 1},
		{"a size that no put has", set(13, 0, `{"size":11}`), oracle.Corruption, "an object comes back with the bytes that were put", "operation 13 (head) found key b to be 11 bytes long, which no put was", []int64{13}, 1},
	})
}

func TestObjectsProvesNothing(t *testing.T) {
	t.Parallel()
	proofless(t, &oracle.Objects{}, objectsOps, []doubtful{
		{"without a read after the last change", func(ops *[]ledger.Op) { *ops = slices.Delete((*ops)[:14], 12, 13) }, oracle.CheckerUnknown, `1 key was not read after the last acknowledged change, which is unproven: "b"`},
		{"without an acknowledgement", func(ops *[]ledger.Op) { *ops = (*ops)[9:12] }, oracle.TooFewOps, "no put or delete was acknowledged"},
		{"without any read", func(ops *[]ledger.Op) { *ops = (*ops)[:2] }, oracle.TooFewOps, "nothing was read"},
		{"with a generation that was put twice", func(ops *[]ledger.Op) { (*ops)[9].Value = 2; *ops = (*ops)[:10] }, oracle.CheckerUnknown, "operations 4 and 10 put the same generation 2 of key a"},
		{"with a list that is no JSON", func(ops *[]ledger.Op) { (*ops)[5].Data = "a" }, oracle.CheckerUnknown, "operation 6 (list) cannot be read"},
		{"with data that is no JSON", func(ops *[]ledger.Op) { (*ops)[4].Data = "a" }, oracle.CheckerUnknown, "operation 5 (get) cannot be read"},
	})
	ops := objectsOps()[:16]
	r := (&oracle.Objects{List: "eventual"}).Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Inconclusive || !contains(r.Findings[0].Reason, "the final read has no end") {
		t.Errorf("without an end: %s %+v", r.Verdict, r.Findings)
	}
}

// What lags during the run is counted; what the final read still shows is convicted.
func TestObjectsAllowsLaggingReads(t *testing.T) {
	t.Parallel()
	ops := objectsOps()
	ops[4].Value, ops[4].Data, ops[5].Data = 1, "", `["b"]`
	r := (&oracle.Objects{Reads: "eventual", List: "eventual"}).Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Pass || r.Counts["late"] != 2 {
		t.Fatalf("%s %v %+v", r.Verdict, r.Counts, r.Findings)
	}
	ops[14].Value, ops[14].Data = 0, ""
	r = (&oracle.Objects{Reads: "eventual", List: "eventual"}).Check(t.Context(), &ledger.History{Ops: ops}, "w")
	if r.Verdict != oracle.Fail || r.Total != 1 || !slices.Equal(r.Violations[0].Ops, []int64{2, 15}) {
		t.Fatalf("%s %+v", r.Verdict, r.Violations)
	}
}

// A long operation may take effect after a short one that was called later.
func TestObjectsLetsALongOperationExplain(t *testing.T) {
	t.Parallel()
	for name, ops := range map[string][]ledger.Op{
		"a delete": {
			{Func: ledger.FuncDelete, Invoke: 1, Complete: 100},
			{Func: ledger.FuncDelete, Invoke: 2, Complete: 10},
			{Func: ledger.FuncPut, Value: 1, Invoke: 20, Complete: 30},
			{Func: ledger.FuncGet, Invoke: 40, Complete: 50},
			{Func: ledger.FuncGet, Invoke: 110, Complete: 120},
		},
		"a put": {
			{Func: ledger.FuncPut, Value: 1, Invoke: 1, Complete: 100},
			{Func: ledger.FuncPut, Value: 2, Invoke: 2, Complete: 10},
			{Func: ledger.FuncDelete, Invoke: 20, Complete: 30},
			{Func: ledger.FuncHead, Data: `{"exists":true}`, Invoke: 40, Complete: 50},
			{Func: ledger.FuncGet, Value: 1, Invoke: 110, Complete: 120},
		},
	} {
		for i := range ops {
			ops[i].Key = "a"
		}
		if r := (oracle.Objects{}).Check(t.Context(), &ledger.History{Ops: script(ops...)}, "w"); r.Verdict != oracle.Pass {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
}

func TestObjectsCounts(t *testing.T) {
	t.Parallel()
	r := oracle.Objects{}.Check(t.Context(), &ledger.History{Ops: objectsOps()}, "w")
	want := map[string]int64{"acknowledged": 4, "failed": 1, "unknown": 1, "unknown_found": 1, "reads": 7, "lists": 3, "keys": 2, "never_read": 0, "late": 0}
	if diff := cmp.Diff(want, r.Counts); diff != "" || r.Verdict != oracle.Pass {
		t.Errorf("%s %+v\n%s", r.Verdict, r.Findings, diff)
	}
}

// BenchmarkObjects measures the objects check: the bar is 1,000,000 operations per second on one core. 1000 keys, and ten
// lists of them.
func BenchmarkObjects(b *testing.B) {
	const n, keys = 1_000_000, 1000
	ops := make([]ledger.Op, 0, n+keys+11)
	state := map[string]int64{}
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprint("key-", i)
	}
	for i := range n {
		key := names[i*7919%keys]
		switch i % 4 {
		case 0:
			ops = append(ops, ledger.Op{Func: ledger.FuncPut, Key: key, Value: int64(i + 1), Data: `{"size":4096}`})
			state[key] = int64(i + 1)
		case 3:
			if i%40 == 3 {
				ops = append(ops, ledger.Op{Func: ledger.FuncDelete, Key: key})
				delete(state, key)
				continue
			}
			fallthrough
		default:
			o := ledger.Op{Func: ledger.FuncGet, Key: key, Value: state[key]}
			if o.Value > 0 {
				o.Data = `{"size":4096}`
			}
			ops = append(ops, o)
		}
		if i%(n/10) == n/10-1 {
			ops = append(ops, ledger.Op{Func: ledger.FuncList, Data: list(state, "")})
		}
	}
	for _, key := range names {
		ops = append(ops, ledger.Op{Func: ledger.FuncGet, Key: key, Value: state[key]})
	}
	h := &ledger.History{Ops: script(append(ops, ledger.Op{Func: ledger.FuncEnd, Offset: int64(len(state))})...)}
	perSecond(b, len(h.Ops), func() {
		if r := (oracle.Objects{}).Check(b.Context(), h, "w"); r.Verdict != oracle.Pass {
			b.Fatal(r.Findings)
		}
	})
}
