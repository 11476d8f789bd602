package program

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// The commands that a program reads after its configuration, and answers with {"done": …}.
const (
	cmdStop  = "stop"
	cmdFinal = "final"
)

// invoked is the outcome that a line has whose operation begins.
const invoked = "invoke"

// line is one line that a program prints. A field that is not there is nil or zero.
type line struct {
	Done string          `json:"done"`
	F    string          `json:"f"`
	P    int             `json:"p"`
	K    *string         `json:"k"`
	X    *int64          `json:"x"`
	S    *uint32         `json:"s"`
	D    json.RawMessage `json:"d"`
	Pt   *int32          `json:"pt"`
	O    *int64          `json:"o"`
	T1   int64           `json:"t1"`
	T2   int64           `json:"t2"`
	R    string          `json:"r"`
	E    string          `json:"e"`
}

// functions are those that a program may print.
func functions() []string {
	return []string{
		ledger.FuncRead, ledger.FuncEnd, ledger.FuncProduce, ledger.FuncPoll, ledger.FuncAssign, ledger.FuncCommit, ledger.FuncAbort,
		ledger.FuncAdd, ledger.FuncList, ledger.FuncWrite, ledger.FuncGet, ledger.FuncCAS, ledger.FuncDelete, ledger.FuncPut,
		ledger.FuncHead, ledger.FuncTransfer, ledger.FuncBalances, ledger.FuncInc, ledger.FuncEnqueue, ledger.FuncDequeue,
		ledger.FuncGenerate, ledger.FuncTxn,
	}
}

// parse reads a line, strictly.
func parse(text []byte) (l line, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it is cut off")
		}
		return l, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return l, errors.New("there is more than one JSON object")
	}
	return l, l.validate()
}

func (l line) validate() error {
	switch {
	case l.Done != "" && l.Done != cmdStop && l.Done != cmdFinal:
		return fmt.Errorf("done = %q is neither %q nor %q", l.Done, cmdStop, cmdFinal)
	case l.Done != "":
		return nil
	case !slices.Contains([]string{invoked, string(ledger.OK), string(ledger.Failed), string(ledger.Unknown)}, l.R):
		return fmt.Errorf("r = %q is not one of invoke, ok, fail, unknown", l.R)
	case l.F != "" && !slices.Contains(functions(), l.F):
		return fmt.Errorf("f = %q is no function (there are %s)", l.F, strings.Join(functions(), ", "))
	case l.R == invoked && l.F == "":
		return errors.New("f is missing: what is invoked?")
	case l.P < 0:
		return fmt.Errorf("p = %d is negative", l.P)
	}
	return nil
}

// onto puts what the line tells into an operation.
func (l line) onto(op *ledger.Op) error {
	if l.F != "" && op.Func != "" && l.F != op.Func {
		return fmt.Errorf("f = %q completes an operation that was invoked as %q", l.F, op.Func)
	}
	if l.F != "" {
		op.Func = l.F
	}
	set(&op.Key, l.K)
	set(&op.Value, l.X)
	set(&op.Sum, l.S)
	set(&op.Partition, l.Pt)
	set(&op.Offset, l.O)
	if l.T1 != 0 {
		op.Invoke = l.T1
	}
	if len(l.D) == 0 {
		return nil
	}
	if l.D[0] == '"' { // a text, which may hold JSON
		return json.Unmarshal(l.D, &op.Data)
	}
	var out bytes.Buffer
	err := json.Compact(&out, l.D)
	op.Data = out.String()
	return err
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
