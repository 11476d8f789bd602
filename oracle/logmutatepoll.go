package oracle

import (
	"fmt"
	"math"

	"github.com/discompose/discompose/ledger"
)

// skip removes every delivery of one acknowledged record between two that were delivered.
func (p *logPlot) skip() (string, bool) {
	low, high := map[int32]int64{}, map[int32]int64{}
	polled := map[[2]int64]bool{}
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Func != ledger.FuncPoll || o.Outcome != ledger.OK {
			continue
		}
		if _, seen := low[o.Partition]; !seen {
			low[o.Partition], high[o.Partition] = math.MaxInt64, -1
		}
		low[o.Partition], high[o.Partition] = min(low[o.Partition], o.Offset), max(high[o.Partition], o.Offset)
		polled[[2]int64{int64(o.Partition), o.Offset}] = true
	}
	var eligible []int
	for _, i := range p.landed {
		o := &p.h.Ops[i]
		if polled[[2]int64{int64(o.Partition), o.Offset}] && low[o.Partition] < o.Offset && o.Offset < high[o.Partition] {
			eligible = append(eligible, i)
		}
	}
	if len(eligible) == 0 {
		return "no consumer group was handed a record between two others", false
	}
	read := &p.h.Ops[eligible[p.rand.IntN(len(eligible))]]
	p.touch(&p.h.Ops[p.sent[read.Value]], read)
	p.drop(ledger.FuncPoll, read.Partition, read.Offset)
	return fmt.Sprintf("removed every delivery of %s", valueName(read.Value)), true
}

// takeBack removes a record from the final read that a group was handed, and makes its fate unknown.
func (p *logPlot) takeBack() (string, bool) {
	var eligible []int
	for i := range p.h.Ops {
		o := &p.h.Ops[i]
		if o.Workload != p.workload || o.Func != ledger.FuncPoll || o.Outcome != ledger.OK || o.Sum != 0 {
			continue
		}
		if r, ok := p.reads[[2]int64{int64(o.Partition), o.Offset}]; ok && p.h.Ops[r].Value == o.Value {
			eligible = append(eligible, i)
		}
	}
	for len(eligible) > 0 {
		n := p.rand.IntN(len(eligible))
		poll := &p.h.Ops[eligible[n]]
		send, sent := p.sent[poll.Value]
		end, ended := p.ends[poll.Partition]
		if !sent || !ended || poll.Offset >= p.h.Ops[end].Offset || p.h.Ops[send].Outcome == ledger.Failed {
			eligible = append(eligible[:n], eligible[n+1:]...)
			continue
		}
		p.h.Ops[send].Outcome, p.h.Ops[send].Error = ledger.Unknown, "mutated"
		p.touch(&p.h.Ops[send], poll)
		p.drop(ledger.FuncRead, poll.Partition, poll.Offset)
		return fmt.Sprintf("removed %s from the final read after its delivery", valueName(poll.Value)), true
	}
	return "no consumer group was handed a record of the final read", false
}
