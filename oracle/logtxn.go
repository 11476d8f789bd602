package oracle

import "github.com/discompose/discompose/ledger"

// logTxns knows the transactions of a log.
type logTxns struct {
	list  []logTxn
	index map[string]int32 // id → transaction
}

// logTxn is one transaction. Operations are indices; -1 is none.
type logTxn struct {
	id     string
	commit int32 // the commit that tells most: that succeeded, or whose fate is unknown, or the last
	told   int
	abort  int32
	values []int32 // its records
}

func newLogTxns() logTxns { return logTxns{index: map[string]int32{}} }

// of is the transaction that an operation names.
func (t *logTxns) of(o *ledger.Op) (int32, error) {
	var data ledger.Txn
	if err := ledger.DecodeData(o, &data); err != nil {
		return -1, err
	}
	n, known := t.index[data.ID]
	if !known {
		n = int32(len(t.list)) //nolint:gosec // as many as operations
		t.index[data.ID] = n
		t.list = append(t.list, logTxn{id: data.ID, commit: -1, abort: -1})
	}
	return n, nil
}

// ended takes the operations that end transactions; it ignores others. A commit may be tried again.
func (t *logTxns) ended(i int32, o *ledger.Op) error {
	if o.Func != ledger.FuncCommit && o.Func != ledger.FuncAbort {
		return nil
	}
	n, err := t.of(o)
	if err != nil {
		return err
	}
	txn := &t.list[n]
	switch {
	case o.Func == ledger.FuncAbort:
		txn.abort = i
	case txn.commit < 0 || telling(o.Outcome) >= txn.told:
		txn.commit, txn.told = i, telling(o.Outcome)
	}
	return nil
}

// telling ranks the outcomes of commits.
func telling(o ledger.Outcome) int {
	switch o {
	case ledger.OK:
		return 2
	case ledger.Unknown:
		return 1
	case ledger.Failed:
	}
	return 0
}

// fate of a transaction: without a commit that succeeded, or may have, it is aborted, or will be.
func (t *logTxn) fate(ops []ledger.Op) fate {
	if t.commit < 0 {
		return isFailed
	}
	switch ops[t.commit].Outcome {
	case ledger.OK:
		return isAcked
	case ledger.Unknown:
		return isUnknown
	case ledger.Failed:
	}
	return isFailed
}

// after is the fate of a record once that of its transaction is known.
func (f fate) after(txn fate, isolation string) fate {
	switch {
	case f == isFailed || txn == isAcked:
		return f
	case txn == isUnknown || isolation == readUncommitted:
		return isUnknown
	}
	return isFailed
}

const readUncommitted = "read-uncommitted"

// resolve gives every record of a transaction its fate.
func (l *logCheck) resolve() {
	for n := range l.values {
		v := &l.values[n]
		if v.txn < 0 {
			continue
		}
		txn := &l.txns.list[v.txn]
		txn.values = append(txn.values, int32(n)) //nolint:gosec // as many as operations
		after := v.fate.after(txn.fate(l.ops), l.options.Isolation)
		if p := l.ops[v.op].Partition; v.fate == isAcked && after != isAcked && p >= 0 {
			l.part(p).acked--
		}
		v.fate = after
	}
}

// aborted reports whether a record was sent, and taken back with its transaction.
func (l *logCheck) aborted(v *sentValue) bool {
	return v.fate == isFailed && v.txn >= 0 && l.ops[v.op].Outcome != ledger.Failed
}

// unwanted reports a record that is there though it failed.
func (l *logCheck) unwanted(v *sentValue, at int64, read int32) {
	if !l.aborted(v) {
		l.broke(ruleFailed, at, v.op, read)
		return
	}
	ops := []int32{v.op, read}
	txn := &l.txns.list[v.txn]
	for _, end := range []int32{txn.abort, txn.commit} {
		if end >= 0 {
			ops = append(ops, end)
		}
	}
	l.broke(ruleAborted, at, ops...)
}

// halves looks for transactions of unknown fate of which the final read found some acknowledged records and others not.
func (l *logCheck) halves() {
	if l.options.Isolation == readUncommitted {
		return
	}
	ended := l.ended()
	for n := range l.txns.list {
		txn := &l.txns.list[n]
		if txn.fate(l.ops) != isUnknown {
			continue
		}
		seen, gone := int32(-1), int32(-1)
		for _, i := range txn.values {
			v := &l.values[i]
			send := &l.ops[v.op]
			switch p := l.parts[send.Partition]; {
			case v.read >= 0:
				seen = i
			case send.Outcome != ledger.OK:
			case send.Partition < 0 && ended, p != nil && p.endOp >= 0:
				gone = i
			}
		}
		if seen >= 0 && gone >= 0 {
			a, b := &l.values[seen], &l.values[gone]
			l.broke(ruleHalf, instant(&l.ops[b.op]), a.op, a.read, b.op, txn.commit)
		}
	}
}

// positions looks for consumers that went back in a partition that they were not assigned anew.
func (l *logCheck) positions() {
	if !l.assigns {
		return
	}
	type holder struct {
		process   int
		partition int32
	}
	last := map[holder]int32{}
	for i := range l.ops {
		o := &l.ops[i]
		if o.Workload != l.workload || o.Outcome != ledger.OK {
			continue
		}
		if l.stopped(i) {
			return
		}
		h, at := holder{o.Process, o.Partition}, int32(i) //nolint:gosec // as many as operations
		switch o.Func {
		case ledger.FuncAssign:
			delete(last, h)
		case ledger.FuncPoll:
			before, ok := last[h]
			if ok && o.Offset <= l.ops[before].Offset {
				if o.Invoke <= l.ops[before].Invoke {
					continue // of one batch, or recorded late or again: it tells no order
				}
				l.broke(ruleBackwards, o.Invoke, before, at)
			}
			last[h] = at
		}
	}
}

// txnName is the transaction of a produce.
func (l *logCheck) txnName(send int32) string {
	n, ok := l.sent[l.ops[send].Value]
	if !ok || l.values[n].txn < 0 {
		return ""
	}
	return l.txns.list[l.values[n].txn].id
}

// count adds up transactions, where there are any.
func (t *logTxns) count(counts map[string]int64) {
	if len(t.list) == 0 {
		return
	}
	counts["transactions"] = int64(len(t.list))
	counts["aborted"] += 0
}
