package oracle

import (
	"cmp"
	"fmt"
	"slices"

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
	}
	return Invariant, "the checker names the promise"
}

// breach is a violation before it is put into words: a broken system may have a million of them.
type breach struct {
	rule     logRule
	at       int64
	from, to int64 // offsets, for gaps
	ops      []int32
}

// breach notes a violation; ops are indices into the history, the most telling first.
func (l *logCheck) breach(rule logRule, at int64, ops ...int32) {
	l.breaches = append(l.breaches, breach{rule: rule, at: at, ops: ops})
}

func (l *logCheck) breachOver(rule logRule, at, from, to int64, ops ...int32) {
	l.breaches = append(l.breaches, breach{rule: rule, at: at, from: from, to: to, ops: ops})
}

// violations puts the oldest breaches into words, at most MaxViolations, and of each class a fair share.
func (l *logCheck) violations() []Violation {
	byTime := func(a, b breach) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.ops, b.ops), cmp.Compare(a.rule, b.rule))
	}
	slices.SortFunc(l.breaches, byTime)
	kept := fairShare(l.breaches)
	slices.SortFunc(kept, byTime)
	out := make([]Violation, 0, len(kept))
	for _, b := range kept {
		class, promise := b.rule.class()
		ops := slices.Clone(b.ops)
		slices.Sort(ops) // the history is in the order of time
		ops = slices.Compact(ops)
		v := Violation{Class: class, Promise: promise, Note: l.note(b), At: b.at, Ops: make([]int64, len(ops))}
		for i, op := range ops {
			v.Ops[i] = l.ops[op].ID
		}
		out = append(out, v)
	}
	return out
}

// fairShare keeps the first breaches of each class before it fills up with the rest, so that a flood of one class does
// not hide another.
func fairShare(all []breach) []breach {
	if len(all) <= MaxViolations {
		return all
	}
	const share = MaxViolations / 5 // a log has five classes
	var kept, rest []breach
	n := map[Class]int{}
	for _, b := range all {
		class, _ := b.rule.class()
		if n[class]++; n[class] <= share {
			kept = append(kept, b)
		} else if len(rest) < MaxViolations {
			rest = append(rest, b)
		}
	}
	return append(kept, rest[:min(len(rest), MaxViolations-len(kept))]...)
}

// findings has one finding for each promise that is broken, and one for each reason why a pass is not proven.
func (l *logCheck) findings() []Finding {
	count := map[logRule]int{}
	first := map[logRule]breach{}
	for _, b := range l.breaches { // sorted by violations
		if count[b.rule]++; count[b.rule] == 1 {
			first[b.rule] = b
		}
	}
	var out []Finding
	for rule := ruleLost; rule <= ruleFailed; rule++ {
		if n := count[rule]; n > 0 {
			class, promise := rule.class()
			out = append(out, Finding{class, fmt.Sprintf("log of %s: broken %s: %s; first: %s", l.workload, times(n), promise, l.note(first[rule]))})
		}
	}
	if l.counts["acknowledged"] == 0 {
		out = append(out, Finding{TooFewOps, fmt.Sprintf("log of %s: no record was acknowledged, so nothing is promised", l.workload)})
	}
	for _, why := range l.unproven {
		out = append(out, Finding{CheckerUnknown, "log of " + l.workload + ": " + why})
	}
	return out
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// note says what was seen, in a sentence.
func (l *logCheck) note(b breach) string {
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
	}
	return ""
}

// inItsPlace says what the final read found where a lost record should be.
func (l *logCheck) inItsPlace(b breach) string {
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
