package oracle

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/discompose/discompose/ledger"
)

const endOfTime = int64(math.MaxInt64)

// anyValue is the value of a register of which nothing is known yet.
const anyValue = int32(-1)

// regModel is porcupine's model of one register. ops are those of the history, to describe operations, or nil.
func regModel(k *regKey, ops []ledger.Op) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int32(0) },
		Step: func(state, input, _ any) (bool, any) {
			now, _ := state.(int32)
			o, _ := input.(regOp)
			switch o.kind {
			case regGet:
				return now == o.value || now == anyValue, o.value
			case regMiss:
				return now != o.from || now == anyValue, now
			case regSwap:
				if o.open && now != o.from { // it fails, without an effect
					return true, now
				}
				return now == o.from || now == anyValue, o.value
			case regWrite, regDelete:
			}
			return true, o.value
		},
		DescribeOperation: func(input, _ any) string {
			o, _ := input.(regOp)
			return describeRegOp(k, &o)
		},
		DescribeState: func(state any) string {
			if v, _ := state.(int32); v != anyValue {
				return regValue(k.values[v])
			}
			return "anything"
		},
		DescribeOperationMetadata: func(info any) string {
			i, ok := info.(int32)
			if !ok || ops == nil {
				return ""
			}
			return fmt.Sprintf("operation %d: %s, %s", ops[i].ID, ops[i].Func, ops[i].Outcome)
		},
	}
}

func describeRegOp(k *regKey, o *regOp) string {
	value := regValue(k.values[o.value])
	switch o.kind {
	case regGet:
		return "get: " + value
	case regMiss:
		return "cas: not " + regValue(k.values[o.from])
	case regSwap:
		return fmt.Sprintf("cas: %s to %s", regValue(k.values[o.from]), value)
	case regWrite:
		return "write: " + value
	case regDelete:
	}
	return "delete"
}

// regHistory are operations as porcupine takes them.
func regHistory(ops []ledger.Op, part []regOp) []porcupine.Operation {
	out := make([]porcupine.Operation, 0, len(part))
	for _, o := range part {
		out = append(out, porcupine.Operation{ClientId: ops[o.op].Process, Input: o, Call: o.call, Return: o.ret, Metadata: o.op})
	}
	return out
}

const (
	pictureOps  = 250             // on one picture
	pictureTime = 2 * time.Second // for porcupine's part of it
)

// draw attaches a picture of what happened to a key around the first violation of it.
func (c *registerCheck) draw(k *regKey, whole []regOp, found []breach) {
	if len(c.attached) >= MaxAttachments {
		return
	}
	first := slices.MinFunc(found, func(a, b breach) int { return compareInt(a.at, b.at) })
	part := around(whole, first.ops)
	model := regModel(k, c.ops)
	if len(part) < len(whole) {
		model.Init = func() any { return anyValue }
	}
	history := regHistory(c.ops, part)
	draw := func() ([]byte, error) {
		var html bytes.Buffer
		_, info := porcupine.CheckOperationsVerbose(model, history, pictureTime)
		err := porcupine.Visualize(model, info, &html)
		return html.Bytes(), err
	}
	what := fmt.Sprintf("operations %v prove a violation on key %s; %d operations around them, and how far an order of these goes", c.ids(first.ops), k.name, len(part))
	c.attached = append(c.attached, Attachment{Name: fmt.Sprintf("register-%s-%s.html", fileName(c.workload), fileName(k.name)), What: what, draw: draw})
}

// around is a part of a key's operations with those of a violation and their neighbours.
func around(whole []regOp, proof []int32) []regOp {
	const neighbours = 20
	from, to := len(whole), 0
	for i := range whole {
		if slices.Contains(proof, whole[i].op) {
			from, to = min(from, i), i+1
		}
	}
	if to-from <= pictureOps-2*neighbours {
		return whole[max(0, from-neighbours):min(len(whole), to+neighbours)]
	}
	var out []regOp // too far apart: those that prove it, and the ones next to each
	near := -neighbours
	for i := range whole {
		if slices.Contains(proof, whole[i].op) {
			near = i
		}
		if i-near < 3 {
			out = append(out, whole[i])
		}
		if len(out) == pictureOps {
			break
		}
	}
	return out
}

// fileName makes a name that any file system takes.
func fileName(name string) string {
	const most = 60
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '_'
	}, name)
	return clean[:min(len(clean), most)]
}
