package workload_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

func TestEndOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err        error
		kept, lost ledger.Outcome // with no answer lost, and with one
	}{
		{nil, ledger.OK, ledger.OK},
		{kerr.OperationNotAttempted, ledger.Failed, ledger.Failed},
		{kerr.InvalidProducerEpoch, ledger.Failed, ledger.Unknown},
		{fmt.Errorf("end: %w", kerr.ProducerFenced), ledger.Failed, ledger.Unknown},
		{kerr.InvalidTxnState, ledger.Failed, ledger.Unknown},
		{kerr.TransactionAbortable, ledger.Failed, ledger.Unknown},
		{kerr.InvalidProducerIDMapping, ledger.Failed, ledger.Unknown},
		{kerr.TransactionalIDAuthorizationFailed, ledger.Failed, ledger.Unknown},
		{kerr.UnknownServerError, ledger.Unknown, ledger.Unknown},
		{kerr.ConcurrentTransactions, ledger.Unknown, ledger.Unknown},
		{kerr.NotCoordinator, ledger.Unknown, ledger.Unknown},
		{context.DeadlineExceeded, ledger.Unknown, ledger.Unknown},
		{errors.New("connection reset"), ledger.Unknown, ledger.Unknown},
	} {
		if got := workload.EndOutcome(c.err, false); got != c.kept {
			t.Errorf("%v: %s, want %s", c.err, got, c.kept)
		}
		if got := workload.EndOutcome(c.err, true); got != c.lost {
			t.Errorf("%v with a lost answer: %s, want %s", c.err, got, c.lost)
		}
	}
}

// txnID is the transaction that an operation names.
func txnID(t *testing.T, o ledger.Op) string {
	t.Helper()
	var txn ledger.Txn
	if err := ledger.DecodeData(&o, &txn); err != nil {
		t.Fatal(err)
	}
	return txn.ID
}

// checkTransactions stops d, makes the final read, and fails unless it found every record of a transaction that was
// committed, and, unless dirty, nothing of one that surely was not.
func checkTransactions(t *testing.T, d workload.Driver, h *history, dirty bool) {
	t.Helper()
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	commits := map[string]ledger.Outcome{}
	for _, o := range h.all() {
		if o.Func == ledger.FuncCommit {
			commits[txnID(t, o)] = o.Outcome
		}
	}
	read := map[int64]place{}
	for _, o := range h.of(ledger.FuncRead, ledger.OK) {
		read[o.Value] = place{o.Partition, o.Offset}
	}
	aborted, committed := 0, 0
	for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
		at, found := read[o.Value]
		switch fate, asked := commits[txnID(t, o)]; {
		case fate == ledger.OK:
			committed++
			if at != (place{o.Partition, o.Offset}) {
				t.Errorf("committed value %d: read at %v (%t), acknowledged at %v", o.Value, at, found, place{o.Partition, o.Offset})
			}
		case !asked || fate == ledger.Failed:
			aborted++
			if found != dirty {
				t.Errorf("value %d of an aborted transaction: read %t, want %t", o.Value, found, dirty)
			}
		}
	}
	if committed == 0 || aborted == 0 {
		t.Errorf("%d records committed, %d aborted: nothing was tested", committed, aborted)
	}
	if s := d.Stats(); s.InFlight != 0 {
		t.Errorf("stats are wrong: %+v", s)
	}
}

func TestKafkaTransactions(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"", "read-uncommitted"} {
		t.Run("isolation "+isolation, func(t *testing.T) {
			t.Parallel()
			h := &history{}
			d := newDriver(t, workload.Config{Target: fake(t).ListenAddrs()[0], Clients: 3, Rate: 300, Seed: 7}, workload.KafkaOptions{
				Group: "readers", Isolation: isolation, Transactions: &workload.KafkaTransactions{Size: 4, Abort: 0.3},
			})
			setUp(t, d, h)
			eventually(t, "30 commits, 10 aborts, 50 polled", func() bool {
				return len(h.of(ledger.FuncCommit, ledger.OK)) >= 30 && len(h.of(ledger.FuncAbort, ledger.OK)) >= 10 &&
					len(h.of(ledger.FuncPoll, ledger.OK)) >= 50
			})
			checkTransactions(t, d, h, isolation != "")
			sizes := map[string]int{}
			for _, o := range h.of(ledger.FuncProduce, ledger.OK) {
				sizes[txnID(t, o)]++
			}
			for id, n := range sizes {
				if n > 4 {
					t.Errorf("transaction %s has %d records", id, n)
				}
			}
			checkAssigned(t, append(h.of(ledger.FuncAssign, ledger.OK), h.of(ledger.FuncPoll, ledger.OK)...))
		})
	}
}

// A commit that the coordinator refuses has failed, and its transaction is aborted; one whose answer is lost is unknown.
// After both the producers go on.
func TestKafkaCommitsThatFail(t *testing.T) {
	t.Parallel()
	c := fake(t)
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Clients: 2, Rate: 200, Timeout: int64(5 * time.Second)}, workload.KafkaOptions{
		Transactions: &workload.KafkaTransactions{Size: 3, Abort: 0.2},
	})
	refused := false
	c.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if end := r.(*kmsg.EndTxnRequest); end.Commit && !refused { //nolint:forcetypeassert // it is the request of its key
			refused = true
			answer := end.ResponseKind().(*kmsg.EndTxnResponse) //nolint:forcetypeassert // it is the response of its key
			answer.ErrorCode = kerr.TransactionAbortable.Code
			return answer, nil, true
		}
		return nil, nil, false //nolint:nilnil // let it through
	})
	setUp(t, d, h)
	eventually(t, "one commit is refused", func() bool { return len(h.of(ledger.FuncCommit, ledger.Failed)) == 1 })
	eventually(t, "it goes on", func() bool { return len(h.of(ledger.FuncCommit, ledger.OK)) >= 20 })
	checkTransactions(t, d, h, false)
}

// Stop gives up a transaction that does not end.
func TestKafkaStopGivesUpTransactions(t *testing.T) {
	t.Parallel()
	c := fake(t)
	release, held := make(chan struct{}), make(chan struct{}, 100)
	h := &history{}
	d := newDriver(t, workload.Config{Target: c.ListenAddrs()[0], Rate: 100}, workload.KafkaOptions{Transactions: &workload.KafkaTransactions{Size: 2}})
	c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.DropControl()
		held <- struct{}{}
		c.SleepControl(func() { <-release })
		return nil, nil, false //nolint:nilnil // let it through
	})
	setUp(t, d, h)
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	close(release)
	if got := h.of(ledger.FuncCommit, ledger.Unknown); len(got) != 1 || got[0].Complete != 0 || got[0].Error == "" {
		t.Errorf("the commit is recorded as %+v", got)
	}
	if err := d.Final(t.Context(), h.emit); err != nil {
		t.Fatal(err)
	}
	if n := len(h.of(ledger.FuncRead, ledger.OK)); n != 0 && n != 2 {
		t.Errorf("%d records of a transaction of 2 were read", n)
	}
}
