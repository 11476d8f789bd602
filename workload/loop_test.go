package workload_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// memory is a System in memory. do says what becomes of an operation; nil: it is ok.
type memory struct {
	mu        sync.Mutex
	do        func(ctx context.Context, op *ledger.Op) (ledger.Outcome, error)
	connect   func(ctx context.Context) error
	setup     func() error
	final     func() ([]ledger.Op, error)
	connected []int       // processes, in order
	closed    []int       // the same
	busy      map[int]int // operations in flight, by process
	peak      int         // most sessions open at a time
	overlap   bool        // a process had two operations in flight
}

type memorySession struct {
	m       *memory
	process int
	dead    bool
}

func (m *memory) Setup(context.Context) error {
	if m.setup == nil {
		return nil
	}
	return m.setup()
}

func (m *memory) Next(r *rand.Rand, t workload.Turn) ledger.Op {
	return ledger.Op{Func: "add", Value: t.Fresh, Key: string(rune('a' + r.IntN(26)))}
}

func (m *memory) Connect(ctx context.Context, process int) (workload.Session, error) {
	if m.connect != nil {
		if err := m.connect(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connected = append(m.connected, process)
	m.peak = max(m.peak, len(m.connected)-len(m.closed))
	return &memorySession{m: m, process: process}, nil
}

func (m *memory) Final(context.Context) ([]ledger.Op, error) { return m.final() }

func (s *memorySession) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	m := s.m
	m.mu.Lock()
	if m.busy == nil {
		m.busy = map[int]int{}
	}
	m.busy[s.process]++
	m.overlap = m.overlap || m.busy[s.process] > 1
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.busy[s.process]--
		m.mu.Unlock()
	}()
	if m.do == nil {
		return ledger.OK, nil
	}
	outcome, err := m.do(ctx, op)
	s.dead = errors.Is(err, errBroken)
	return outcome, err
}

func (s *memorySession) Alive() bool { return !s.dead }

func (s *memorySession) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.closed = append(s.m.closed, s.process)
}

var (
	errBroken  = errors.New("connection is broken")
	errRefused = errors.New("refused")
)

// answerAfter is a system that takes d for each answer, unless the operation's time is over before.
func answerAfter(d time.Duration) func(context.Context, *ledger.Op) (ledger.Outcome, error) {
	return func(ctx context.Context, _ *ledger.Op) (ledger.Outcome, error) {
		select {
		case <-ctx.Done():
			return ledger.Unknown, ctx.Err()
		case <-time.After(d):
			return ledger.OK, nil
		}
	}
}

// play runs a loop over m for a time of a fake clock and stops it; check looks at the history, the loop is at rest then.
func play(t *testing.T, c workload.Config, m *memory, o workload.LoopOptions, run time.Duration, check func(t *testing.T, ops []ledger.Op, s workload.Stats)) {
	t.Helper()
	playSystem(t, c, m, m, o, run, check)
}

// playSystem is play of a system that m is a part of.
func playSystem(t *testing.T, c workload.Config, system workload.System, m *memory, o workload.LoopOptions, run time.Duration, check func(t *testing.T, ops []ledger.Op, s workload.Stats)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if c.Name == "" {
			c.Name = "set"
		}
		if c.Timeout == 0 {
			c.Timeout = int64(30 * time.Second)
		}
		d := workload.NewLoopAt(c, system, o, func() int64 { return int64(time.Since(began)) + 1 })
		var h history
		if err := d.Start(t.Context(), h.emit); err != nil {
			t.Fatal(err)
		}
		time.Sleep(run)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the fake clock: for answers that come after all
		synctest.Wait()
		ops, stats := h.all(), d.Stats()
		if m.overlap {
			t.Error("a process had two operations in flight")
		}
		if stats.InFlight != 0 || stats.Invoked != int64(len(ops)) {
			t.Errorf("%d operations were emitted: %+v", len(ops), stats)
		}
		if slices.Sort(m.connected); !slices.Equal(m.connected, sorted(m.closed)) {
			t.Errorf("sessions of %v were made, of %v closed", m.connected, m.closed)
		}
		retired(t, ops)
		check(t, ops, stats)
	})
}

// retired fails the test if a process did anything after an operation that ended unknown, or if a value came twice.
func retired(t *testing.T, ops []ledger.Op) {
	t.Helper()
	over, values := map[int]bool{}, map[int64]bool{}
	byInvoke := slices.Clone(ops)
	slices.SortStableFunc(byInvoke, func(a, b ledger.Op) int { return int(a.Invoke - b.Invoke) })
	for _, o := range byInvoke {
		if over[o.Process] {
			t.Errorf("process %d goes on after an unknown operation", o.Process)
		}
		over[o.Process] = over[o.Process] || o.Outcome == ledger.Unknown
		if o.Func == ledger.FuncDelete { // it has no value
			continue
		}
		if values[o.Value] || o.Value>>32 != int64(o.Process) {
			t.Errorf("value %x of process %d", o.Value, o.Process)
		}
		values[o.Value] = true
	}
}

func sorted(list []int) []int {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func TestLoopInvokesAtThePlannedInstants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer time.Duration
		most   int // sessions at a time
	}{
		{"where answers come at once", 0, 4},
		{"where each takes longer than its clients have", 500 * time.Millisecond, 51},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{do: answerAfter(c.answer)}
			play(t, workload.Config{Clients: 4, Rate: 100}, m, workload.LoopOptions{}, 9995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
				type instants struct{ Planned, Invoke, Complete int64 }
				var got, want []instants
				for k, o := range ops {
					planned := workload.Instant(int64(k), 100) + 1
					want = append(want, instants{planned, planned, planned + int64(c.answer)})
					got = append(got, instants{o.Planned, o.Invoke, o.Complete})
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("instants (-want +got):\n%s", diff)
				}
				if len(ops) != 1000 || s.OK != 1000 || s.Skipped != 0 {
					t.Errorf("%d operations in 10 s at 100 a second: %+v", len(ops), s)
				}
				if m.peak > c.most || !slices.Equal(m.connected[:4], []int{0, 1, 2, 3}) {
					t.Errorf("%d sessions at a time, of processes %v", m.peak, m.connected)
				}
			})
		})
	}
}

func TestLoopUsesItsClientsInTurn(t *testing.T) {
	t.Parallel()
	play(t, workload.Config{Clients: 3, Rate: 100}, &memory{}, workload.LoopOptions{}, time.Second, func(t *testing.T, ops []ledger.Op, _ workload.Stats) {
		for k, o := range ops {
			if o.Process != k%3 || o.Value != workload.Value(o.Process, int64(k/3+1)) || o.Partition != -1 || o.Offset != -1 || o.Workload != "set" {
				t.Fatalf("operation %d is %+v", k, o)
			}
		}
	})
}

func TestLoopDismissesSpareProcesses(t *testing.T) {
	t.Parallel()
	m, left := &memory{}, 0
	m.do = func(ctx context.Context, o *ledger.Op) (ledger.Outcome, error) {
		m.mu.Lock()
		left = len(m.connected) - len(m.closed)
		m.mu.Unlock()
		if o.Planned < int64(time.Second) {
			return answerAfter(995*time.Millisecond)(ctx, o)
		}
		return ledger.OK, nil
	}
	play(t, workload.Config{Clients: 1, Rate: 10}, m, workload.LoopOptions{}, 20*time.Second, func(t *testing.T, ops []ledger.Op, _ workload.Stats) {
		last := map[int]int64{}
		for _, o := range ops {
			last[o.Process] = o.Planned
		}
		if len(last) != 10 {
			t.Fatalf("%d processes for ten operations at a time", len(last))
		}
		for p, at := range last {
			if at := time.Duration(at); p != 0 && at > 3*time.Second {
				t.Errorf("spare process %d is used at %s", p, at)
			}
		}
		if left != 1 {
			t.Errorf("%d sessions are open in the end", left)
		}
	})
}

func TestLoopBoundsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	m := &memory{do: answerAfter(time.Second)}
	play(t, workload.Config{Clients: 2, MaxInFlight: 5, Rate: 100}, m, workload.LoopOptions{}, 9995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
		if m.peak != 10 || len(ops) != 100 || s.Skipped != 900 {
			t.Errorf("%d sessions at a time, %d operations: %+v", m.peak, len(ops), s)
		}
	})
}

func TestLoopRetiresAProcessWhoseOperationEndedUnknown(t *testing.T) {
	t.Parallel()
	n := 0
	m := &memory{do: func(context.Context, *ledger.Op) (ledger.Outcome, error) {
		if n++; n%2 == 0 {
			return ledger.Unknown, errBroken
		}
		return ledger.OK, nil
	}}
	c := workload.Config{Clients: 2, FirstProcess: 4, Processes: 7, Rate: 10}
	play(t, c, m, workload.LoopOptions{}, 795*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
		var processes []int
		for _, o := range ops {
			processes = append(processes, o.Process)
		}
		// Clients 4 and 5 of seven: fresh processes are 4 + 7, 5 + 7, 4 + 14 … so that those of other containers differ.
		if diff := cmp.Diff([]int{4, 5, 4, 11, 4, 12, 4, 18}, processes); diff != "" {
			t.Errorf("processes (-want +got):\n%s", diff)
		}
		if s.OK != 4 || s.Unknown != 4 || s.LastError != errBroken.Error() {
			t.Errorf("%+v", s)
		}
	})
}

func TestLoopKeepsAProcessWhoseOperationFailed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		err      error
		sessions int
	}{
		{"with its session", errRefused, 1},
		{"with another session where its own is not alive", errBroken, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{do: func(context.Context, *ledger.Op) (ledger.Outcome, error) { return ledger.Failed, c.err }}
			play(t, workload.Config{Clients: 1, Rate: 10}, m, workload.LoopOptions{}, 995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
				for _, o := range ops {
					if o.Process != 0 || o.Outcome != ledger.Failed || o.Error != c.err.Error() {
						t.Fatalf("%+v", o)
					}
				}
				if s.Failed != 10 || len(m.connected) != c.sessions {
					t.Errorf("%d sessions: %+v", len(m.connected), s)
				}
			})
		})
	}
}

func TestLoopFailsWhatItCannotConnectFor(t *testing.T) {
	t.Parallel()
	tries := 0
	m := &memory{connect: func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 2*time.Second {
			t.Errorf("connects with another time than the operation's: %v", deadline)
		}
		if tries++; tries < 4 {
			return errRefused
		}
		return nil
	}}
	play(t, workload.Config{Clients: 1, Rate: 10}, m, workload.LoopOptions{Patience: 2 * time.Second}, 995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
		if s.Failed != 3 || s.OK != 7 || ops[0].Error != "connect: refused" || ops[9].Process != 0 {
			t.Errorf("%+v, first %+v", s, ops[0])
		}
	})
}

func TestLoopGivesUp(t *testing.T) {
	t.Parallel()
	t.Run("its patience is the operation's context", func(t *testing.T) {
		m := &memory{do: answerAfter(time.Hour)}
		play(t, workload.Config{Clients: 1, Rate: 10}, m, workload.LoopOptions{Patience: 2 * time.Second}, 995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
			if s.Unknown != 10 || s.Late != 0 || ops[0].Complete-ops[0].Invoke != int64(2*time.Second) || ops[0].Error != context.DeadlineExceeded.Error() {
				t.Errorf("%+v, first %+v", s, ops[0])
			}
		})
	})
	t.Run("an operation that does not return has no completion, and its answer is late", func(t *testing.T) {
		m := &memory{do: func(_ context.Context, op *ledger.Op) (ledger.Outcome, error) {
			time.Sleep(40 * time.Second)
			op.Key = "late"
			return ledger.OK, nil
		}}
		play(t, workload.Config{Clients: 1, Rate: 1}, m, workload.LoopOptions{}, 60*time.Second, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
			for _, o := range ops {
				if o.Complete != 0 || o.Outcome != ledger.Unknown || o.Error != "no answer within 30s" || o.Key == "late" {
					t.Fatalf("%+v", o)
				}
			}
			if s.Unknown != int64(len(ops)) || s.Late != s.Unknown {
				t.Errorf("%d operations: %+v", len(ops), s)
			}
		})
	})
}

func TestLoopStopsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{do: answerAfter(time.Hour)}
		d := workload.NewLoopAt(workload.Config{Name: "set", Clients: 1, Timeout: int64(time.Hour), Rate: 1}, m, workload.LoopOptions{Patience: time.Hour}, func() int64 { return time.Now().UnixNano() })
		var h history
		if err := d.Start(t.Context(), h.emit); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		ops := h.all()
		if len(ops) != 1 || ops[0].Outcome != ledger.Unknown || ops[0].Complete != 0 || ops[0].Error != "stopped before an answer came" {
			t.Errorf("%+v", ops)
		}
		synctest.Wait()
		if again := h.all(); len(again) != 1 || len(m.closed) != 1 {
			t.Errorf("after Stop: %d operations, %d sessions closed", len(again), len(m.closed))
		}
	})
}

func TestLoopWithoutARate(t *testing.T) {
	t.Parallel()
	t.Run("invokes the next when the last has returned", func(t *testing.T) {
		m := &memory{do: answerAfter(100 * time.Millisecond)}
		play(t, workload.Config{Clients: 3}, m, workload.LoopOptions{}, 995*time.Millisecond, func(t *testing.T, ops []ledger.Op, s workload.Stats) {
			if len(ops) != 30 || s.OK != 30 || m.peak != 3 || len(m.connected) != 3 {
				t.Errorf("%d operations, %d sessions: %+v", len(ops), len(m.connected), s)
			}
		})
	})
	t.Run("waits a little where nothing succeeds", func(t *testing.T) {
		m := &memory{do: func(context.Context, *ledger.Op) (ledger.Outcome, error) { return ledger.Unknown, errRefused }}
		play(t, workload.Config{Clients: 1}, m, workload.LoopOptions{}, 995*time.Millisecond, func(t *testing.T, ops []ledger.Op, _ workload.Stats) {
			if len(ops) != 100 {
				t.Errorf("%d operations in a second", len(ops))
			}
		})
	})
}

func TestLoopDrawsFromTheSeed(t *testing.T) {
	t.Parallel()
	keys := func(c workload.Config, answer time.Duration) string {
		c.Clients, c.Rate = 2, 100
		var out []rune
		play(t, c, &memory{do: answerAfter(answer)}, workload.LoopOptions{}, 1995*time.Millisecond, func(_ *testing.T, ops []ledger.Op, _ workload.Stats) {
			for _, o := range ops {
				out = append(out, []rune(o.Key)...)
			}
		})
		return string(out)
	}
	first := keys(workload.Config{Seed: 1}, 0)
	if len(first) != 200 {
		t.Fatalf("%d operations", len(first))
	}
	if again := keys(workload.Config{Seed: 1}, 50*time.Millisecond); again != first {
		t.Errorf("the same seed gives other keys when answers are slow:\n%s\n%s", first, again)
	}
	for name, c := range map[string]workload.Config{
		"another seed": {Seed: 2}, "another workload": {Seed: 1, Name: "other"}, "another container": {Seed: 1, FirstProcess: 2},
	} {
		if got := keys(c, 0); got == first {
			t.Errorf("%s gives the same keys", name)
		}
	}
	seen := map[rune]int{}
	for _, k := range first {
		seen[k]++
	}
	if len(seen) < 20 {
		t.Errorf("200 draws of 26 keys give %d", len(seen))
	}
}

func TestLoopSetsUpAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		m := &memory{setup: func() error {
			if tries++; tries < 3 {
				return errRefused
			}
			return nil
		}}
		d := workload.NewLoop(workload.Config{Name: "set", Target: "db:1", Clients: 1}, m, workload.LoopOptions{})
		if err := d.Setup(t.Context()); err != nil || tries != 3 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		m.setup = func() error { tries++; return errors.Join(workload.ErrNotEmpty, workload.ErrPermanent) }
		if err := d.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) || tries != 4 {
			t.Errorf("a permanent error after %d tries: %v", tries, err)
		}
		m.setup = func() error { return errRefused }
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := d.Setup(ctx); !errors.Is(err, errRefused) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("until the context ended: %v", err)
		}
	})
}

// TestLoopEndsAReadLast: whoever sorts a final read by the instants of its calls finds its end at its end.
func TestLoopEndsAReadLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{final: func() ([]ledger.Op, error) {
			began := workload.Now()
			return []ledger.Op{
				{Func: ledger.FuncDequeue, Value: 7, Invoke: began, Complete: workload.Now()},
				{Func: ledger.FuncEnd, Offset: 1},
			}, nil
		}}
		d := workload.NewLoop(workload.Config{Name: "queue", Target: "db:1", Clients: 1}, m, workload.LoopOptions{})
		var h history
		if err := d.Final(t.Context(), h.emit); err != nil {
			t.Fatal(err)
		}
		got := h.all()
		if value, end := got[0], got[1]; end.Invoke < value.Complete || end.Complete < end.Invoke || end.Planned != end.Invoke {
			t.Errorf("the read %+v has the end %+v", value, end)
		}
	})
}

func TestLoopReadsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		m := &memory{final: func() ([]ledger.Op, error) {
			if tries++; tries < 3 {
				return workload.Elements([]string{"7", "8"}), errRefused
			}
			return workload.Elements([]string{"7", "x"}), nil
		}}
		d := workload.NewLoop(workload.Config{Name: "set", Target: "db:1", Clients: 1, Processes: 3}, m, workload.LoopOptions{})
		var h history
		if err := d.Final(t.Context(), h.emit); err != nil {
			t.Fatal(err)
		}
		want := []ledger.Op{
			{Workload: "set", Process: 3, Func: "read", Value: 7, Partition: -1, Offset: -1, Outcome: ledger.OK},
			{Workload: "set", Process: 3, Func: "read", Key: "x", Partition: -1, Offset: -1, Outcome: ledger.OK},
			{Workload: "set", Process: 3, Func: "end", Partition: -1, Offset: 2, Outcome: ledger.OK},
		}
		got := h.all()
		for i := range got {
			if got[i].Invoke == 0 || got[i].Complete < got[i].Invoke || got[i].Planned != got[i].Invoke {
				t.Errorf("instants of %+v", got[i])
			}
			got[i].Planned, got[i].Invoke, got[i].Complete = 0, 0, 0
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("final read (-want +got):\n%s", diff)
		}
		if n := d.Stats().Read; n != 2 {
			t.Errorf("%d read", n)
		}
	})
}
