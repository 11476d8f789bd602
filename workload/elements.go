package workload

import (
	"strconv"

	"github.com/discompose/discompose/ledger"
)

// Elements are the operations of the final read of a set: a FuncRead for each element that was found, as decimal text, and
// FuncEnd with their number. Text that is no element is Value 0, with the text, cut to 100 bytes, as Key.
func Elements(found []string) []ledger.Op {
	const most = 100
	ops := make([]ledger.Op, 0, len(found)+1)
	for _, text := range found {
		op := ledger.Op{Func: ledger.FuncRead, Partition: -1, Offset: -1}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value <= 0 || strconv.FormatInt(value, 10) != text {
			value, op.Key = 0, text[:min(len(text), most)]
		}
		op.Value = value
		ops = append(ops, op)
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(len(found))})
}
