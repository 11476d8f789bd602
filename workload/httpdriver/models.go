package httpdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// The models.
const (
	modelSet      = "set"
	modelLog      = "log"
	modelRegister = "register"
	modelObjects  = "objects"
	modelCounter  = "counter"
	modelQueue    = "queue"
	modelBank     = "bank"
)

// model is what the operations of a driver are about.
type model interface {
	// empty says whether what a session sees is as it has to be before the run; its error says why not.
	empty(ctx context.Context, s *session) error
	next(r *rand.Rand, t workload.Turn) ledger.Op
	do(ctx context.Context, s *session, op *ledger.Op) (ledger.Outcome, error)
	final(ctx context.Context, s *session) ([]ledger.Op, error)
}

// notEmpty says that something is there from before the run.
func notEmpty(format string, args ...any) error {
	return fmt.Errorf("%w: %s, from before the run: %w", workload.ErrNotEmpty, fmt.Sprintf(format, args...), workload.ErrPermanent)
}

// functions lists the requests of each model but set and log, which have add and read.
func functions(model string) []function {
	writes := []int{http.StatusOK, http.StatusCreated, http.StatusNoContent}
	reads := []int{http.StatusOK}
	missing := []int{http.StatusNotFound}
	const number = "([0-9]+)"
	get := func(o *Options) **Request { return &o.Get }
	del := func(o *Options) **Request { return &o.Delete }
	return map[string][]function{
		modelRegister: {
			{ledger.FuncWrite, Request{Method: "PUT", Path: "/kv/" + tokenKey, Body: tokenValue, OK: writes}, []string{tokenKey, tokenValue, tokenOp}, []string{tokenKey, tokenValue}, false, 0, func(o *Options) **Request { return &o.Write }},
			{ledger.FuncGet, Request{Method: "GET", Path: "/kv/" + tokenKey, OK: reads, Absent: missing, Element: number}, []string{tokenKey, tokenOp}, []string{tokenKey}, false, 1, get},
			{ledger.FuncCAS, Request{Method: "PUT", Path: "/kv/" + tokenKey, Body: tokenValue, Headers: map[string]string{"If-Match": tokenFrom}, OK: writes, Declined: []int{http.StatusPreconditionFailed}}, []string{tokenKey, tokenValue, tokenFrom, tokenOp}, []string{tokenKey, tokenValue, tokenFrom}, true, 0, func(o *Options) **Request { return &o.CAS }},
			{ledger.FuncDelete, Request{Method: "DELETE", Path: "/kv/" + tokenKey, OK: slices.Concat(writes, missing)}, []string{tokenKey, tokenOp}, []string{tokenKey}, false, 0, del},
		},
		modelObjects: {
			{ledger.FuncPut, Request{Method: "PUT", Path: "/objects/" + tokenKey, OK: writes}, []string{tokenKey, tokenValue, tokenOp}, []string{tokenKey}, false, 0, func(o *Options) **Request { return &o.Put }},
			{ledger.FuncGet, Request{Method: "GET", Path: "/objects/" + tokenKey, OK: reads, Absent: missing}, []string{tokenKey, tokenOp}, []string{tokenKey}, false, 0, get},
			{ledger.FuncDelete, Request{Method: "DELETE", Path: "/objects/" + tokenKey, OK: slices.Concat(writes, missing)}, []string{tokenKey, tokenOp}, []string{tokenKey}, false, 0, del},
			{ledger.FuncList, Request{Method: "GET", Path: "/objects", OK: reads, Element: `\b(k[0-9]+)\b`}, []string{tokenOp}, nil, false, 1, func(o *Options) **Request { return &o.List }},
		},
		modelCounter: {
			{ledger.FuncInc, Request{Method: "POST", Path: "/counter", Body: tokenValue, OK: writes}, []string{tokenValue, tokenOp}, nil, false, 0, func(o *Options) **Request { return &o.Inc }},
			{ledger.FuncGet, Request{Method: "GET", Path: "/counter", OK: reads, Element: "(-?[0-9]+)"}, []string{tokenOp}, nil, false, 1, get},
		},
		modelQueue: {
			{ledger.FuncEnqueue, Request{Method: "POST", Path: "/queue", Body: tokenValue, OK: writes}, []string{tokenValue, tokenOp}, []string{tokenValue}, false, 0, func(o *Options) **Request { return &o.Enqueue }},
			{ledger.FuncDequeue, Request{Method: "POST", Path: "/queue/dequeue", OK: reads, Empty: []int{http.StatusNoContent, http.StatusNotFound}, Element: number}, []string{tokenOp}, nil, false, 1, func(o *Options) **Request { return &o.Dequeue }},
			{"ack", Request{Method: "DELETE", Path: "/queue/" + tokenValue, OK: writes}, []string{tokenValue, tokenAck, tokenOp}, nil, true, 0, func(o *Options) **Request { return &o.Ack }},
		},
		modelBank: {
			{ledger.FuncTransfer, Request{Method: "POST", Path: "/transfers", Body: `{"from": "{{from}}", "to": "{{to}}", "amount": {{amount}}}`, OK: writes, Declined: []int{http.StatusConflict}}, []string{tokenFrom, tokenTo, tokenAmount, tokenOp}, []string{tokenFrom, tokenTo, tokenAmount}, false, 0, func(o *Options) **Request { return &o.Transfer }},
			{ledger.FuncBalances, Request{Method: "GET", Path: "/balances", OK: reads, Element: `"([^"]+)" *: *(-?[0-9]+)`}, []string{tokenOp}, nil, false, 2, func(o *Options) **Request { return &o.Balances }},
		},
	}[model]
}

// everyModel lists the models, as messages and the reference do.
func everyModel() []string {
	return []string{modelSet, modelLog, modelRegister, modelObjects, modelCounter, modelQueue, modelBank}
}

// newModel makes the model that options, which are valid and have their defaults, name.
func newModel(o Options, seed int64) model {
	switch o.Model {
	case modelRegister:
		return register{o: o, keys: o.Keys.Keys(), write: newCall(o.Write), get: newCall(o.Get), cas: newCall(o.CAS), del: newCall(o.Delete)}
	case modelObjects:
		return objects{o: o, seed: seed, keys: o.Keys.Keys(), put: newCall(o.Put), get: newCall(o.Get), del: newCall(o.Delete), list: newCall(o.List)}
	case modelCounter:
		return counter{o: o, inc: newCall(o.Inc), get: newCall(o.Get)}
	case modelQueue:
		return &queue{o: o, enqueue: newCall(o.Enqueue), dequeue: newCall(o.Dequeue), ack: newCall(o.Ack)}
	case modelBank:
		return bank{o: o, transfer: newCall(o.Transfer), balances: newCall(o.Balances)}
	}
	return newSet(o)
}

// weights are the operations of the model with their weights.
func (o Options) weights() []workload.Weight {
	pair := func(write, read string) []workload.Weight {
		return workload.PairMix(write, o.Writes, 4, read, o.Reads, 4)
	}
	switch o.Model {
	case modelRegister:
		swaps := 0
		if o.CAS != nil {
			swaps = workload.Or(o.Swaps, 2)
		}
		return append(pair(ledger.FuncWrite, ledger.FuncGet), workload.Weight{Name: ledger.FuncCAS, Weight: swaps}, workload.Weight{Name: ledger.FuncDelete, Weight: workload.Or(o.Deletes, 1)})
	case modelObjects:
		return append(pair(ledger.FuncPut, ledger.FuncGet), workload.Weight{Name: ledger.FuncDelete, Weight: workload.Or(o.Deletes, 1)}, workload.Weight{Name: ledger.FuncList, Weight: workload.Or(o.Scans, 1)})
	case modelCounter:
		return pair(ledger.FuncInc, ledger.FuncGet)
	case modelQueue:
		return pair(ledger.FuncEnqueue, ledger.FuncDequeue)
	case modelBank:
		return pair(ledger.FuncTransfer, ledger.FuncBalances)
	}
	return nil
}
