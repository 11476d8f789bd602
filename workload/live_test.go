package workload_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func putOf(key string, size int64) ledger.Op {
	return ledger.Op{Func: ledger.FuncPut, Key: key, Value: 1, Data: ledger.EncodeData(ledger.Object{Size: &size})}
}

// flight is an operation that was invoked. It may take effect, once, until it is resolved.
type flight struct {
	op      ledger.Op
	size    int64
	applied bool
	done    func(ledger.Outcome)
}

// store is a system of objects: key → size.
type store map[string]int64

func (s store) apply(f *flight) {
	f.applied = true
	if f.op.Func == ledger.FuncDelete {
		delete(s, f.op.Key)
		return
	}
	s[f.op.Key] = f.size
}

func (s store) bytes() (sum int64) {
	for _, n := range s {
		sum += n
	}
	return sum
}

// scene is a store, what governs it and what is in flight.
type scene struct {
	bounds  workload.Bounds
	live    *workload.Live
	store   store
	flights []*flight
}

func (s *scene) invoke(t *rapid.T) {
	key, size := strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "key")), rapid.Int64Range(1, 30).Draw(t, "size")
	op := putOf(key, size)
	if rapid.IntRange(0, 5).Draw(t, "delete") == 0 {
		op = ledger.Op{Func: ledger.FuncDelete, Key: key}
	}
	got, done := s.live.Govern(op)
	if got.Func == ledger.FuncDelete && (got.Value != 0 || got.Data != "") {
		t.Fatalf("a delete has the rest of a put: %+v", got)
	}
	s.flights = append(s.flights, &flight{op: got, size: size, done: done})
}

// takeEffect has one of the operations in flight take effect, if it has not.
func (s *scene) takeEffect(t *rapid.T) {
	if len(s.flights) == 0 {
		return
	}
	if f := s.flights[rapid.IntRange(0, len(s.flights)-1).Draw(t, "effect of")]; !f.applied {
		s.store.apply(f)
	}
}

// resolve ends one of the operations in flight, in a way that is true.
func (s *scene) resolve(t *rapid.T) {
	if len(s.flights) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.flights)-1).Draw(t, "end of")
	f := s.flights[i]
	s.flights = slices.Delete(s.flights, i, i+1)
	outcome := rapid.SampledFrom([]ledger.Outcome{ledger.OK, ledger.OK, ledger.OK, ledger.Failed, ledger.Unknown}).Draw(t, "outcome")
	switch {
	case f.applied && outcome == ledger.Failed:
		outcome = ledger.OK
	case !f.applied && outcome == ledger.OK:
		s.store.apply(f)
	}
	f.done(outcome)
}

func (s *scene) check(t *rapid.T) {
	keys, bytes := s.live.Count()
	if s.bounds.Keys > 0 && keys > s.bounds.Keys || s.bounds.Bytes > 0 && bytes > s.bounds.Bytes {
		t.Fatalf("%d objects of %d bytes are counted; the bounds are %+v", keys, bytes, s.bounds)
	}
	if int64(len(s.store)) > keys || s.store.bytes() > bytes {
		t.Fatalf("%d objects of %d bytes are there, and %d of %d are counted", len(s.store), s.store.bytes(), keys, bytes)
	}
}

// empty ends what is in flight and deletes each object once: nothing is left.
func (s *scene) empty(t *rapid.T) {
	for _, f := range s.flights {
		f.done(map[bool]ledger.Outcome{true: ledger.OK, false: ledger.Failed}[f.applied])
	}
	there, _ := s.live.Keys(nil)
	for _, key := range there {
		_, done := s.live.Govern(ledger.Op{Func: ledger.FuncDelete, Key: key})
		done(ledger.OK)
	}
	if keys, bytes := s.live.Count(); keys != 0 || bytes != 0 || s.live.Known() != 0 {
		t.Fatalf("after a delete of each object, %d of %d bytes are counted, %d known", keys, bytes, s.live.Known())
	}
}

// TestLiveIsNeverExceeded lets operations overlap in any order, take effect at any instant between invocation and outcome, and end
// in any way: neither what is counted nor what is there, which is never more, exceeds a bound. Nothing leaks.
func TestLiveIsNeverExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := workload.Bounds{
			Keys: rapid.Int64Range(0, 6).Draw(t, "keys"), Bytes: rapid.Int64Range(0, 60).Draw(t, "bytes"),
			Low: rapid.Float64Range(0.01, 0.99).Draw(t, "low"),
		}
		s := &scene{bounds: b, live: workload.NewLive(b), store: store{}}
		steps := []func(*rapid.T){s.invoke, s.invoke, s.takeEffect, s.resolve}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step")](t)
			s.check(t)
		}
		s.empty(t)
	})
}

// TestLiveDrains: from the bound on, puts of new keys are deletes of the oldest, overwrites go on, and at the low water puts do.
func TestLiveDrains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		bounds workload.Bounds
		full   int // objects of 10 bytes
		low    int
	}{
		{"keys", workload.Bounds{Keys: 10, Low: 0.5}, 10, 5},
		{"bytes", workload.Bounds{Bytes: 205, Low: 0.25}, 20, 5},
		{"both", workload.Bounds{Keys: 10, Bytes: 1000, Low: 0.5}, 10, 5},
		{"a low water below one object", workload.Bounds{Keys: 1, Low: 0.5}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := workload.NewLive(c.bounds)
			step := func(key, want string, objects int) {
				t.Helper()
				op, done := l.Govern(putOf(key, 10))
				done(ledger.OK)
				keys, bytes := l.Count()
				if got := op.Func + " " + op.Key; got != want || keys != int64(objects) || bytes != int64(10*objects) {
					t.Fatalf("a put of %s became %s, %d objects of %d bytes; want %s, %d", key, got, keys, bytes, want, objects)
				}
			}
			put, oldest := 0, 0
			for range 3 {
				for put-oldest < c.full {
					put++
					step(strconv.Itoa(put), "put "+strconv.Itoa(put), put-oldest)
				}
				for put-oldest > c.low {
					oldest++
					step("new", "delete "+strconv.Itoa(oldest), put-oldest)
				}
			}
		})
	}
}

// TestLiveOverwritesWhileItDrains: what is there may be put again.
func TestLiveOverwritesWhileItDrains(t *testing.T) {
	t.Parallel()
	l := workload.NewLive(workload.Bounds{Keys: 4, Low: 0.25})
	for _, c := range []struct{ key, want string }{
		{"a", "put a"}, {"b", "put b"}, {"c", "put c"}, {"d", "put d"}, {"e", "delete a"}, {"d", "put d"}, {"e", "delete b"}, {"e", "delete c"}, {"e", "put e"},
	} {
		op, done := l.Govern(putOf(c.key, 1))
		if done(ledger.OK); op.Func+" "+op.Key != c.want {
			t.Errorf("a put of %s became %s %s, want %s", c.key, op.Func, op.Key, c.want)
		}
	}
}

// TestLiveOverwrites: an overwrite that would exceed the bytes is a delete, one that shrinks an object gives bytes back.
func TestLiveOverwrites(t *testing.T) {
	t.Parallel()
	l := workload.NewLive(workload.Bounds{Bytes: 100, Low: 0.8})
	step := func(op ledger.Op, outcome ledger.Outcome, want string, bytes int64) {
		t.Helper()
		got, done := l.Govern(op)
		done(outcome)
		if _, n := l.Count(); got.Func+" "+got.Key != want || n != bytes {
			t.Errorf("%s %s became %s %s, %d bytes; want %s, %d", op.Func, op.Key, got.Func, got.Key, n, want, bytes)
		}
	}
	step(putOf("a", 60), ledger.OK, "put a", 60)
	step(putOf("b", 40), ledger.OK, "put b", 100)
	step(putOf("b", 40), ledger.OK, "put b", 100) // it takes the place of what is there
	step(putOf("b", 41), ledger.OK, "delete a", 40)
	step(putOf("b", 10), ledger.Unknown, "put b", 40) // which of the two is there is not known
	step(putOf("b", 20), ledger.Failed, "put b", 40)
	step(putOf("b", 20), ledger.OK, "put b", 20)
	step(putOf("c", 90), ledger.OK, "delete b", 0)
	_, first := l.Govern(putOf("d", 50))
	_, second := l.Govern(putOf("d", 10))
	first(ledger.OK)
	second(ledger.OK)
	if _, n := l.Count(); n != 50 {
		t.Errorf("of two puts at the same time either may be there: %d bytes", n)
	}
}

// TestLiveGivesBack: of what failed nothing stays counted, and what is unknown does, until a delete.
func TestLiveGivesBack(t *testing.T) {
	t.Parallel()
	l := workload.NewLive(workload.Bounds{Keys: 4, Bytes: 100, Low: 0.8})
	for i := range 1000 {
		op, done := l.Govern(putOf(strconv.Itoa(i), 25))
		if done(ledger.Failed); op.Func != ledger.FuncPut {
			t.Fatalf("after %d puts that failed, the next becomes %+v", i, op)
		}
	}
	if keys, bytes := l.Count(); keys != 0 || bytes != 0 || l.Known() != 0 {
		t.Errorf("%d objects of %d bytes are counted", keys, bytes)
	}
	for i, c := range []struct {
		op      ledger.Op
		outcome ledger.Outcome
		keys    int64
	}{
		{putOf("u", 25), ledger.Unknown, 1},
		{ledger.Op{Func: ledger.FuncDelete, Key: "u"}, ledger.Failed, 1},
		{ledger.Op{Func: ledger.FuncDelete, Key: "u"}, ledger.Unknown, 1},
		{ledger.Op{Func: ledger.FuncGet, Key: "u"}, ledger.OK, 1},
		{ledger.Op{Func: ledger.FuncDelete, Key: "u"}, ledger.OK, 0},
	} {
		_, done := l.Govern(c.op)
		done(c.outcome)
		if keys, bytes := l.Count(); keys != c.keys || bytes != 25*c.keys {
			t.Errorf("step %d, %s %s: %d objects of %d bytes", i, c.op.Func, c.outcome, keys, bytes)
		}
	}
}

// TestLiveDeletesDifferentObjects: deletes in flight at the same time are of different objects; where none is idle, of the put's own.
func TestLiveDeletesDifferentObjects(t *testing.T) {
	t.Parallel()
	l := workload.NewLive(workload.Bounds{Keys: 3, Low: 0.5})
	for _, key := range []string{"a", "b", "c"} {
		_, done := l.Govern(putOf(key, 1))
		done(ledger.OK)
	}
	for _, want := range []string{"a", "b", "c", "d"} {
		if op, _ := l.Govern(putOf("d", 1)); op.Func != ledger.FuncDelete || op.Key != want {
			t.Errorf("%+v, want a delete of %s", op, want)
		}
	}
}

// TestLiveTellsWhatAFinalReadHasToSee: all that may be there or is listed, then what is gone, the newest first.
func TestLiveTellsWhatAFinalReadHasToSee(t *testing.T) {
	t.Parallel()
	l := workload.NewLive(workload.Bounds{Low: 0.8})
	for _, key := range []string{"ok", "gone1", "gone2", "failed"} {
		_, done := l.Govern(putOf(key, 1))
		done(map[bool]ledger.Outcome{false: ledger.OK, true: ledger.Failed}[key == "failed"])
	}
	_, unknown := l.Govern(putOf("unknown", 1))
	unknown(ledger.Unknown)
	for _, key := range []string{"gone2", "gone1"} {
		_, done := l.Govern(ledger.Op{Func: ledger.FuncDelete, Key: key})
		done(ledger.OK)
	}
	there, gone := l.Keys([]string{"ok", "another's"})
	if want := []string{"another's", "ok", "unknown"}; !slices.Equal(there, want) {
		t.Errorf("there: %q, want %q", there, want)
	}
	if want := []string{"gone1", "gone2", "failed"}; !slices.Equal(gone, want) {
		t.Errorf("gone: %q, want %q", gone, want)
	}
}

func TestBoundsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 5).Draw(t, "clients")
		all := 0
		for _, n := range parts {
			all += n
		}
		b := workload.Bounds{Keys: rapid.Int64Range(int64(all), 1e6).Draw(t, "keys"), Bytes: rapid.Int64Range(0, 1).Draw(t, "bytes") << 40, Low: 0.8}
		keys, bytes := int64(0), int64(0)
		for _, n := range parts {
			s := b.Share(n, all)
			if s.Keys < 1 || (s.Bytes == 0) != (b.Bytes == 0) {
				t.Fatalf("%d of %d clients have %+v of %+v", n, all, s, b)
			}
			keys, bytes = keys+s.Keys, bytes+s.Bytes
		}
		if keys > b.Keys || bytes > b.Bytes {
			t.Fatalf("the parts are %d keys and %d bytes of %+v", keys, bytes, b)
		}
	})
}

// blobs is a system of objects in memory whose clients may be governed.
type blobs struct {
	memory
	live *workload.Live
}

func (b *blobs) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := putOf(strconv.Itoa(r.IntN(1000)), 10)
	op.Value = t.Fresh
	return op
}

func (b *blobs) Govern(op ledger.Op) (ledger.Op, func(ledger.Outcome)) { return b.live.Govern(op) }

// TestLoopRecordsWhatAGovernorMade: operations that never return are recorded as what was sent, and count as unknown.
func TestLoopRecordsWhatAGovernorMade(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sent := map[[2]int64]ledger.Op{} // process and planned instant → what the session was given
	b := &blobs{live: workload.NewLive(workload.Bounds{Keys: 20, Low: 0.5})}
	b.do = func(_ context.Context, op *ledger.Op) (ledger.Outcome, error) {
		mu.Lock()
		sent[[2]int64{int64(op.Process), op.Planned}] = *op
		n := len(sent)
		mu.Unlock()
		switch {
		case op.Func == ledger.FuncDelete && n%2 == 0:
			time.Sleep(5 * time.Second) // longer than the workload's time-out, whatever the context says
			return ledger.OK, nil
		case n%7 == 0:
			return ledger.Failed, errors.New("refused")
		}
		return ledger.OK, nil
	}
	c := workload.Config{Clients: 4, Rate: 100, Timeout: int64(time.Second)}
	playSystem(t, c, b, &b.memory, workload.LoopOptions{Patience: 500 * time.Millisecond}, 10*time.Second, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
		timedOut := 0
		for _, o := range ops {
			was := sent[[2]int64{int64(o.Process), o.Planned}]
			if o.Func != was.Func || o.Key != was.Key || o.Value != was.Value || o.Data != was.Data {
				t.Fatalf("%+v is recorded, %+v was sent", o, was)
			}
			if o.Outcome == ledger.Unknown && o.Func == ledger.FuncDelete {
				timedOut++
			}
		}
		if timedOut == 0 || s.Late == 0 {
			t.Errorf("%d deletes timed out: %+v", timedOut, s)
		}
		if keys, _ := b.live.Count(); keys > 20 || int(keys) != b.live.Known() {
			t.Errorf("%d objects are counted, and %d known, at rest", keys, b.live.Known())
		}
	})
}
