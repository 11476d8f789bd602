package oracle

import (
	"cmp"
	"fmt"

	"github.com/discompose/discompose/ledger"
)

// logRule is one promise of a log.
type logRule uint8

const (
	ruleLost logRule = iota
	ruleGap
	ruleSkipped
	ruleTakenBack
	ruleBody
	ruleOneRecord
	ruleDuplicate
	ruleSequence
	rulePosition
	ruleMoved
	rulePhantom
	ruleFailed
	ruleAborted
	ruleHalf
	ruleBackwards
)

// class and promise of a rule.
func (r logRule) class() (class Class, promise string) {
	switch r {
	case ruleLost:
		return DataLoss, "an acknowledged record is in the log"
	case ruleGap:
		return DataLoss, "offsets have no gaps"
	case ruleSkipped:
		return DataLoss, "every acknowledged record before a consumer's position was delivered"
	case ruleTakenBack:
		return DataLoss, "a record that a consumer was handed stays in the log"
	case ruleBody:
		return Corruption, "a body comes back as it was sent"
	case ruleOneRecord:
		return Corruption, "an offset holds one record"
	case ruleDuplicate:
		return Duplicate, "a record is in the log at most once"
	case ruleSequence:
		return Order, "the records of a producer stand in the order in which it sent them"
	case rulePosition:
		return Order, "a record stands at the offset that its acknowledgement named"
	case ruleMoved:
		return Order, "a record stays at the offset at which a consumer was handed it"
	case rulePhantom:
		return Phantom, "nothing is in the log that was never sent"
	case ruleFailed:
		return Phantom, "a record whose sending failed is not in the log"
	case ruleAborted:
		return Phantom, "nothing is read of a transaction that did not commit"
	case ruleHalf:
		return Invariant, "a transaction's records are in the log all or none"
	case ruleBackwards:
		return Order, "a consumer is handed a partition's records in the order of offsets"
	}
	return Invariant, "the checker names the promise"
}

// logBreach is a broken rule with the operations that prove it, the most telling first, and for gaps the offsets.
type logBreach struct {
	rule     logRule
	from, to int64
	ops      []int32
}

// broke notes a violation; ops are indices into the history, the most telling first.
func (l *logCheck) broke(rule logRule, at int64, ops ...int32) { l.brokeOver(rule, at, 0, 0, ops...) }

func (l *logCheck) brokeOver(rule logRule, at, from, to int64, ops ...int32) {
	class, promise := rule.class()
	b := logBreach{rule, from, to, ops}
	l.breach(class, promise, at, func() string { return l.note(b) }, ops...)
}

// note says what was seen, in a sentence.
func (l *logCheck) note(b logBreach) string {
	op := func(i int) *ledger.Op { return &l.ops[b.ops[i]] }
	switch b.rule {
	case ruleLost:
		return fmt.Sprintf("%s was acknowledged at %s; the final read %s", valueName(op(0).Value), placeName(op(0)), l.inItsPlace(b))
	case ruleGap:
		return fmt.Sprintf("partition %d has no record at %s", op(0).Partition, offsets(b.from, b.to))
	case ruleSkipped:
		return fmt.Sprintf("%s at %s was never delivered, although offsets %d and %d were", valueName(op(0).Value), placeName(op(1)), op(2).Offset, op(3).Offset)
	case ruleTakenBack:
		return fmt.Sprintf("%s was delivered from %s; the final read did not find it", valueName(op(0).Value), placeName(op(1)))
	case ruleBody:
		bad := op(len(b.ops) - 1)
		return fmt.Sprintf("%s came back from %s with another body (CRC-32C %08x)", valueName(bad.Value), placeName(bad), bad.Sum)
	case ruleOneRecord:
		return fmt.Sprintf("%s was read as %s, then as %s", placeName(op(0)), valueName(op(0).Value), valueName(op(1).Value))
	case ruleDuplicate:
		return fmt.Sprintf("%s, sent once (%s), is at %s and at %s", valueName(op(0).Value), op(0).Outcome, placeName(op(1)), placeName(op(2)))
	case ruleSequence:
		return fmt.Sprintf("%s at %s stands behind %s at %s", valueName(op(1).Value), placeName(op(3)), valueName(op(0).Value), placeName(op(2)))
	case rulePosition:
		return fmt.Sprintf("%s was acknowledged at %s and found at %s", valueName(op(0).Value), placeName(op(0)), placeName(op(1)))
	case ruleMoved:
		return fmt.Sprintf("%s was delivered from %s and found at %s", valueName(op(0).Value), placeName(op(1)), placeName(op(2)))
	case rulePhantom:
		return fmt.Sprintf("%s at %s was never sent", valueName(op(0).Value), placeName(op(0)))
	case ruleFailed:
		return fmt.Sprintf("%s, whose sending failed (%s), is at %s", valueName(op(0).Value), cmp.Or(op(0).Error, "no error text"), placeName(op(1)))
	case ruleAborted:
		text := fmt.Sprintf("%s was sent in transaction %s and is at %s", valueName(op(0).Value), l.txnName(b.ops[0]), placeName(op(1)))
		if len(b.ops) > 2 {
			return fmt.Sprintf("%s, which operation %d ended (%s, %s)", text, op(2).ID, op(2).Func, op(2).Outcome)
		}
		return text + ", which nobody committed"
	case ruleHalf:
		return fmt.Sprintf("of transaction %s, whose commit has an unknown fate, %s is at %s, and %s is not in the log", l.txnName(b.ops[0]), valueName(op(0).Value), placeName(op(1)), valueName(op(2).Value))
	case ruleBackwards:
		return fmt.Sprintf("process %d was handed %s after offset %d, and was not assigned the partition in between", op(1).Process, placeName(op(1)), op(0).Offset)
	}
	return ""
}

// inItsPlace says what the final read found where a lost record should be.
func (l *logCheck) inItsPlace(b logBreach) string {
	if len(b.ops) < 2 {
		return "did not find it"
	}
	if o := &l.ops[b.ops[1]]; o.Func == ledger.FuncRead && o.Offset == l.ops[b.ops[0]].Offset {
		return "found " + valueName(o.Value) + " there"
	}
	if o := &l.ops[b.ops[len(b.ops)-1]]; o.Func == ledger.FuncEnd {
		return fmt.Sprintf("ended at offset %d without it", o.Offset)
	}
	return "did not find it"
}

func offsets(from, to int64) string {
	if from == to {
		return fmt.Sprintf("offset %d", from)
	}
	return fmt.Sprintf("offsets %d to %d", from, to)
}

// valueName names a value as its producer counted it.
func valueName(v int64) string { return fmt.Sprintf("record %d of producer %d", v&0xffffffff, v>>32) }

func placeName(o *ledger.Op) string {
	if o.Partition < 0 || o.Offset < 0 {
		return "an unknown offset"
	}
	return fmt.Sprintf("partition %d offset %d", o.Partition, o.Offset)
}
