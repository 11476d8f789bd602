package oracle

import (
	"context"

	"github.com/anishathalye/porcupine"

	"github.com/discompose/discompose/ledger"
)

// JudgeWith is Judge with other checkers.
var JudgeWith = judge

// RegisterOrder searches for an order of the operations of a history on one register, and asks porcupine for the same.
func RegisterOrder(ctx context.Context, ops []ledger.Op) (ours, theirs string) {
	c := Register{}.open(ctx, newDocket(ctx, "register", "w", ops))
	c.scan()
	if len(c.keys) == 0 {
		return "", ""
	}
	k := &c.keys[0]
	names := map[regOutcome]string{regUndecided: "Unknown", regLegal: "Ok", regIllegal: "Illegal"}
	ours = names[searchRegister(ctx, k.ops, len(k.values), c.limit)]
	return ours, string(porcupine.CheckOperationsTimeout(regModel(k, nil), regHistory(ops, k.ops), 0))
}

// PorcupineHistory is a history as porcupine takes it, with a model that has one register for each key.
func PorcupineHistory(ops []ledger.Op) (porcupine.Model, []porcupine.Operation) {
	c := Register{}.open(endless{}, newDocket(endless{}, "register", "w", ops))
	c.scan()
	model := regModel(&regKey{}, nil)
	var all []porcupine.Operation
	of := map[int32]int{}
	for n := range c.keys {
		for _, o := range c.keys[n].ops {
			of[o.op] = n
		}
		all = append(all, regHistory(ops, c.keys[n].ops)...)
	}
	model.Partition = func(history []porcupine.Operation) [][]porcupine.Operation {
		out := make([][]porcupine.Operation, len(c.keys))
		for _, o := range history {
			in, _ := o.Input.(regOp)
			out[of[in.op]] = append(out[of[in.op]], o)
		}
		return out
	}
	return model, all
}
