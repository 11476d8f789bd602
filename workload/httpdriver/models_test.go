package httpdriver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/httpdriver"
)

// api is a server that has one answer for each request line, in turn; the last one stays. It notes what it was asked.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]string // "GET /x" → "200 body"
	asked   []string
}

func newAPI(t *testing.T, answers map[string][]string) *api {
	t.Helper()
	a := &api{answers: answers}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.RequestURI
		said := line
		if v := r.Header.Get("If-Match"); v != "" {
			said += " if " + v
		}
		if v := r.Header.Get("Idempotency-Key"); v != "" {
			said += " key " + v
		}
		a.asked = append(a.asked, strings.TrimSpace(said+" "+string(body)))
		list := a.answers[line]
		if len(list) == 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if len(list) > 1 {
			a.answers[line] = list[1:]
		}
		if list[0] == "hang up" {
			panic(http.ErrAbortHandler)
		}
		code, text, _ := strings.Cut(list[0], " ")
		status, _ := strconv.Atoi(code)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) addr() string { return a.Listener.Addr().String() }

func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string{}, a.asked...)
}

// step is one operation of a session, and what it comes to.
type step struct {
	op       ledger.Op
	want     ledger.Outcome
	value    int64
	sum      bool
	data     string
	declined bool
}

func play(t *testing.T, a *api, o httpdriver.Options, steps []step) {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	session, err := httpdriver.NewSession(t.Context(), a.addr(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for i, s := range steps {
		op := s.op
		out, err := session.Do(t.Context(), &op)
		if out != s.want || op.Value != s.value || (op.Sum != 0) != s.sum || op.Data != s.data || errors.Is(err, workload.ErrDeclined) != s.declined || (err == nil) != (out == ledger.OK) {
			t.Errorf("step %d: %s, %v: %+v, want %+v", i, out, err, op, s)
		}
	}
}

func asked(t *testing.T, a *api, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, a.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{
		"GET /kv/k1":    {"200 7", "404 ", "200 what?", "500 7", "200 0"},
		"PUT /kv/k1":    {"204 ", "412 ", "204 ", "hang up", "400 no"},
		"DELETE /kv/k1": {"404 ", "503 "},
	})
	get, del := ledger.Op{Func: ledger.FuncGet, Key: "k1"}, ledger.Op{Func: ledger.FuncDelete, Key: "k1"}
	write := func(v int64) ledger.Op { return ledger.Op{Func: ledger.FuncWrite, Key: "k1", Value: v} }
	cas := func(v int64) ledger.Op { return ledger.Op{Func: ledger.FuncCAS, Key: "k1", Value: v} }
	play(t, a, httpdriver.Options{Model: "register", CAS: &httpdriver.Request{}}, []step{
		{op: get, want: ledger.OK, value: 7},
		{op: cas(8), want: ledger.OK, value: 8, data: `{"from":7}`},
		{op: cas(9), want: ledger.Failed, value: 9, data: `{"from":8,"mismatch":true}`, declined: true},
		{op: cas(10), want: ledger.OK, value: 10, data: `{"from":0}`}, // what a mismatch leaves is not known
		{op: get, want: ledger.OK, value: 0},
		{op: get, want: ledger.OK, value: -1}, // nothing of ours
		{op: get, want: ledger.Failed},
		{op: get, want: ledger.OK, value: -1},
		{op: write(11), want: ledger.Unknown, value: 11},
		{op: write(12), want: ledger.Failed, value: 12},
		{op: del, want: ledger.OK},
		{op: del, want: ledger.Unknown},
	})
	asked(t, a, "GET /kv/k1", "PUT /kv/k1 if 7 8", "PUT /kv/k1 if 8 9", "PUT /kv/k1 if 0 10", "GET /kv/k1", "GET /kv/k1", "GET /kv/k1", "GET /kv/k1",
		"PUT /kv/k1 11", "PUT /kv/k1 12", "DELETE /kv/k1", "DELETE /kv/k1")
}

func TestRegisterBeforeAndAfter(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{"GET /kv/k0": {"404 "}, "GET /kv/k1": {"404 ", "200 5"}})
	s := httpdriver.NewSystem(a.addr(), httpdriver.Options{Model: "register", Keys: workload.KeyOptions{Count: 2}})
	if err := s.Setup(t.Context()); err != nil {
		t.Errorf("set up without keys: %v", err)
	}
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) || !errors.Is(err, workload.ErrPermanent) {
		t.Errorf("set up with a key: %v", err)
	}
	found, err := s.Final(t.Context())
	if err != nil || len(found) != 3 || found[0].Value != 0 || found[1].Value != 5 || found[1].Key != "k1" || found[1].Invoke == 0 || found[1].Complete < found[1].Invoke || found[2].Func != ledger.FuncEnd || found[2].Offset != 2 {
		t.Errorf("final: %+v, %v", found, err)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	one := newAPI(t, map[string][]string{"GET /kv/k0": {"404 "}})
	two := newAPI(t, map[string][]string{"GET /kv/k0": {"200 4"}})
	o := httpdriver.Options{Model: "register", Endpoints: []string{one.addr(), two.addr()}, Keys: workload.KeyOptions{Count: 1}}
	s := httpdriver.NewSystem(one.addr(), o)
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) {
		t.Errorf("the second server has a key: %v", err)
	}
	for process, want := range []int64{0, 4, 0, 4} {
		session, err := s.Connect(t.Context(), process)
		if err != nil {
			t.Fatal(err)
		}
		op := ledger.Op{Func: ledger.FuncGet, Key: "k0"}
		if out, err := session.Do(t.Context(), &op); out != ledger.OK || op.Value != want {
			t.Errorf("process %d: %d, %v", process, op.Value, err)
		}
		session.Close()
	}
	// Whoever takes the place of a process that was retired asks the server that it had asked.
	var sessions []workload.Session
	for process := range 4 {
		session, err := s.Connect(t.Context(), process)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		sessions = append(sessions, session)
	}
	for retired, process := range map[int]int{1: 4, 3: 6} {
		sessions[retired].Close()
		sessions[retired].Close() // gives its server back once
		session, err := s.Connect(t.Context(), process)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		op := ledger.Op{Func: ledger.FuncGet, Key: "k0"}
		if out, err := session.Do(t.Context(), &op); out != ledger.OK || op.Value != 4 {
			t.Errorf("process %d, in the place of %d: %d, %v", process, retired, op.Value, err)
		}
	}
	if found, err := s.Final(t.Context()); err != nil || found[0].Value != 0 {
		t.Errorf("the final read is not the target's: %+v, %v", found, err)
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{
		"GET /counter":  {"200 {\"count\": 5}", "200 none", "503 5", "200 0", "200 3", "200 -3"},
		"POST /counter": {"200 ", "400 ", "502 "},
	})
	inc := ledger.Op{Func: ledger.FuncInc, Value: 3}
	get := ledger.Op{Func: ledger.FuncGet}
	o := httpdriver.Options{Model: "counter", Inc: &httpdriver.Request{Headers: map[string]string{"Idempotency-Key": "{{op}}"}}}
	play(t, a, o, []step{
		{op: get, want: ledger.OK, value: 5},
		{op: get, want: ledger.Failed},
		{op: get, want: ledger.Failed},
		{op: inc, want: ledger.OK, value: 3},
		{op: inc, want: ledger.Failed, value: 3},
		{op: inc, want: ledger.Unknown, value: 3},
	})
	asked(t, a, "GET /counter", "GET /counter", "GET /counter", "POST /counter key 0-1 3", "POST /counter key 0-2 3", "POST /counter key 0-3 3")
	s := httpdriver.NewSystem(a.addr(), o)
	if err := s.Setup(t.Context()); err != nil {
		t.Errorf("set up at 0: %v", err)
	}
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) {
		t.Errorf("set up at 3: %v", err)
	}
	if found, err := s.Final(t.Context()); err != nil || len(found) != 2 || found[0].Func != ledger.FuncGet || found[0].Value != -3 || found[1].Func != ledger.FuncEnd {
		t.Errorf("final: %+v, %v", found, err)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{
		"POST /queue":    {"201 ", "500 "},
		"POST /take":     {"200 {\"v\": 7, \"r\": \"x1\"}", "204 ", "200 {\"v\": 8, \"r\": \"x2\"}", "200 rubbish", "hang up", "400 ", "200 {\"v\": 9}"},
		"DELETE /job/x1": {"204 "},
		"DELETE /job/x2": {"503 "},
	})
	enqueue, dequeue := ledger.Op{Func: ledger.FuncEnqueue, Value: 6}, ledger.Op{Func: ledger.FuncDequeue}
	play(t, a, httpdriver.Options{
		Model:   "queue",
		Dequeue: &httpdriver.Request{Path: "/take", Token: `"r": "(\w+)"`},
		Ack:     &httpdriver.Request{Path: "/job/{{token}}"},
	}, []step{
		{op: enqueue, want: ledger.OK, value: 6},
		{op: enqueue, want: ledger.Unknown, value: 6},
		{op: dequeue, want: ledger.OK, value: 7},
		{op: dequeue, want: ledger.OK},                // nothing there
		{op: dequeue, want: ledger.Unknown, value: 8}, // handed over, not acknowledged
		{op: dequeue, want: ledger.OK, sum: true},
		{op: dequeue, want: ledger.Unknown},
		{op: dequeue, want: ledger.Failed},
		{op: dequeue, want: ledger.Unknown, value: 9}, // without a token it cannot be acknowledged
	})
}

// TestADrainKeepsWhatItTook is about a try that breaks off: what it took out would be lost with it.
func TestADrainKeepsWhatItTook(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{"POST /queue/dequeue": {"200 1", "200 2", "hang up", "200 3", "204 "}})
	s := httpdriver.NewSystem(a.addr(), httpdriver.Options{Model: "queue"})
	if _, err := s.Final(t.Context()); err == nil {
		t.Fatal("a drain that breaks off succeeds")
	}
	found, err := s.Final(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range found {
		got = append(got, fmt.Sprint(op.Func, " ", op.Value, " ", op.Outcome, " ", op.Offset))
	}
	want := []string{"dequeue 1 ok -1", "dequeue 2 ok -1", "dequeue 0 unknown -1", "dequeue 3 ok -1", "dequeue 0 ok -1", "end 0  3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBank(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{
		"GET /balances":   {`200 {"a0": 10, "a1": -2}`, "200 {}", `200 {"a0": 1}`, `200 {"a0": 1, "a1": 2}`, `200 {"a0": 3, "a1": 0}`},
		"POST /transfers": {"200 ", "409 ", "504 "},
	})
	move := ledger.Op{Func: ledger.FuncTransfer, Data: `{"from":"a0","to":"a1","amount":4}`}
	o := httpdriver.Options{Model: "bank", Accounts: 2}
	play(t, a, o, []step{
		{op: ledger.Op{Func: ledger.FuncBalances}, want: ledger.OK, data: `{"a0":10,"a1":-2}`},
		{op: ledger.Op{Func: ledger.FuncBalances}, want: ledger.Failed},
		{op: move, want: ledger.OK, data: move.Data},
		{op: move, want: ledger.Failed, data: move.Data, declined: true},
		{op: move, want: ledger.Unknown, data: move.Data},
	})
	if got := a.requests()[2]; got != `POST /transfers {"from": "a0", "to": "a1", "amount": 4}` {
		t.Errorf("a transfer is %q", got)
	}
	s := httpdriver.NewSystem(a.addr(), o)
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrPermanent) || !strings.Contains(err.Error(), "no account a1") {
		t.Errorf("set up without an account: %v", err)
	}
	if err := s.Setup(t.Context()); err != nil {
		t.Errorf("set up: %v", err)
	}
	if found, err := s.Final(t.Context()); err != nil || len(found) != 2 || found[0].Data != `{"a0":3,"a1":0}` {
		t.Errorf("final: %+v, %v", found, err)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	body := string(workload.AppendBody(nil, httpdriver.Seed, 1<<32+4, 64))
	a := newAPI(t, map[string][]string{
		"PUT /objects/k1":    {"201 "},
		"GET /objects/k1":    {"200 " + body, "404 ", "200 " + body[:32], "500 ", "200 " + body},
		"GET /objects":       {`200 ["k3", "k12"]`, "500 ", "200 []", `200 ["k1"]`},
		"GET /objects/k0":    {"404 "},
		"DELETE /objects/k1": {"204 "},
	})
	put := ledger.Op{Func: ledger.FuncPut, Key: "k1", Value: 1<<32 + 4, Data: `{"size":64}`}
	get, list := ledger.Op{Func: ledger.FuncGet, Key: "k1"}, ledger.Op{Func: ledger.FuncList}
	o := httpdriver.Options{Model: "objects", Size: 64, Keys: workload.KeyOptions{Count: 2}}
	play(t, a, o, []step{
		{op: put, want: ledger.OK, value: put.Value, data: put.Data},
		{op: get, want: ledger.OK, value: put.Value, data: put.Data},
		{op: get, want: ledger.OK},
		{op: get, want: ledger.OK, value: put.Value, sum: true, data: `{"size":32}`}, // half of it
		{op: get, want: ledger.Failed},
		{op: list, want: ledger.OK, data: `["k12","k3"]`},
		{op: list, want: ledger.Failed},
		{op: list, want: ledger.OK, data: "[]"},
		{op: ledger.Op{Func: ledger.FuncDelete, Key: "k1"}, want: ledger.OK},
	})
	if got := a.requests()[0]; got != strings.TrimSpace("PUT /objects/k1 "+body) {
		t.Errorf("a put is %q", got)
	}
	s := httpdriver.NewSystem(a.addr(), o)
	if err := s.Setup(t.Context()); !errors.Is(err, workload.ErrNotEmpty) {
		t.Errorf("set up with an object: %v", err)
	}
	found, err := s.Final(t.Context())
	if err != nil || len(found) != 4 || found[0].Value != 0 || found[1].Value != put.Value || found[2].Data != `["k1"]` || found[3].Offset != 1 {
		t.Errorf("final: %+v, %v", found, err)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	a := newAPI(t, map[string][]string{"POST /log": {"201 "}, "GET /log": {"200 [9, 4]"}})
	o := httpdriver.Options{Model: "log", Add: httpdriver.Add{Path: "/log"}, Read: httpdriver.Read{Path: "/log"}}
	s := httpdriver.NewSystem(a.addr(), o)
	op := s.Next(rand.New(rand.NewPCG(1, 1)), workload.Turn{Fresh: 9})
	op.Partition, op.Offset = -1, -1
	if out, err := do(t, a.addr(), o, time.Minute, &op); out != ledger.OK {
		t.Errorf("%s, %v", out, err)
	}
	if op.Func != ledger.FuncProduce || op.Value != 9 || op.Partition != 0 || op.Offset != -1 {
		t.Errorf("it appends %+v", op)
	}
	found, err := s.Final(t.Context())
	if err != nil || len(found) != 3 {
		t.Fatalf("final: %+v, %v", found, err)
	}
	for i, want := range []ledger.Op{{Func: ledger.FuncRead, Value: 9}, {Func: ledger.FuncRead, Value: 4, Offset: 1}, {Func: ledger.FuncEnd, Offset: 2}} {
		if diff := cmp.Diff(want, found[i]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestNextOfEveryModel holds what is drawn against the vocabulary of each model.
func TestNextOfEveryModel(t *testing.T) { //nolint:gocognit // a table of models
	t.Parallel()
	zero := 0
	for _, c := range []struct {
		give httpdriver.Options
		want map[string]bool // functions → whether they carry a fresh value
	}{
		{httpdriver.Options{Model: "register"}, map[string]bool{"write": true, "get": false, "delete": false}},
		{httpdriver.Options{Model: "register", CAS: &httpdriver.Request{}, Deletes: &zero}, map[string]bool{"write": true, "get": false, "cas": true}},
		{httpdriver.Options{Model: "objects"}, map[string]bool{"put": true, "get": false, "delete": false, "list": false}},
		{httpdriver.Options{Model: "queue"}, map[string]bool{"enqueue": true, "dequeue": false}},
		{httpdriver.Options{Model: "bank"}, map[string]bool{"transfer": false, "balances": false}},
		{httpdriver.Options{Model: "log"}, map[string]bool{"produce": true}},
	} {
		s := httpdriver.NewSystem("web:80", c.give)
		seen := map[string]bool{}
		for k := range int64(1000) {
			turn := workload.Turn{K: k, Fresh: k + 1}
			op := s.Next(rand.New(rand.NewPCG(1, uint64(k))), turn)
			if again := s.Next(rand.New(rand.NewPCG(1, uint64(k))), turn); again != op {
				t.Fatalf("turn %d gives %+v, then %+v", k, op, again)
			}
			fresh, known := c.want[op.Func]
			if seen[op.Func] = true; !known || fresh != (op.Value == turn.Fresh) || (!fresh && op.Value != 0) {
				t.Fatalf("%s: turn %d is %+v", c.give.Model, k, op)
			}
			if c.give.Model == "bank" && k < 4 && op.Func != ledger.FuncBalances {
				t.Errorf("turn %d of a bank is %+v", k, op)
			}
			if op.Func == ledger.FuncTransfer {
				var move ledger.Transfer
				if err := ledger.DecodeData(&op, &move); err != nil || move.From == move.To || move.Amount != 1 {
					t.Fatalf("transfer %s: %v", op.Data, err)
				}
			}
		}
		if len(seen) != len(c.want) {
			t.Errorf("%s: %v", c.give.Model, seen)
		}
	}
	counter := httpdriver.NewSystem("web:80", httpdriver.Options{Model: "counter", Amount: 3})
	sizes := map[int64]bool{}
	for k := range int64(200) {
		if op := counter.Next(rand.New(rand.NewPCG(1, uint64(k))), workload.Turn{K: k}); op.Func == ledger.FuncInc {
			sizes[op.Value] = true
		}
	}
	if diff := cmp.Diff(map[int64]bool{1: true, 2: true, 3: true}, sizes); diff != "" {
		t.Errorf("increments (-want +got):\n%s", diff)
	}
}

func TestOptionsOfModelsValidate(t *testing.T) {
	t.Parallel()
	minus, zero := -1, 0
	for _, c := range []struct {
		name, want string
		give       httpdriver.Options
	}{
		{"the defaults of a register", "", httpdriver.Options{Model: "register"}},
		{"the defaults of objects", "", httpdriver.Options{Model: "objects"}},
		{"the defaults of a counter", "", httpdriver.Options{Model: "counter"}},
		{"the defaults of a queue", "", httpdriver.Options{Model: "queue"}},
		{"the defaults of a bank", "", httpdriver.Options{Model: "bank"}},
		{"the defaults of a log", "", httpdriver.Options{Model: "log"}},
		{"an increment without a value", "", httpdriver.Options{Model: "counter", Inc: &httpdriver.Request{Path: "/hit"}}},
		{"no such model", `model: "stack" is not one of set, log, register, objects, counter, queue, bank`, httpdriver.Options{Model: "stack"}},
		{"a request of another model", "put: it is of model objects, not of register", httpdriver.Options{Model: "register", Put: &httpdriver.Request{}}},
		{"a request of a set", "add: it is of model set, not of bank", httpdriver.Options{Model: "bank", Add: httpdriver.Add{Path: "/{{id}}"}}},
		{"a request that a set has not", "inc: it is of model counter, not of set", httpdriver.Options{Inc: &httpdriver.Request{}}},
		{"lists of a log", "lists: it is of model set, not of log", httpdriver.Options{Model: "log", Lists: 0.1}},
		{"a token of another function", "write: there is no {{from}} (write {{key}} or {{value}} or {{op}})", httpdriver.Options{Model: "register", Write: &httpdriver.Request{Body: "{{value}} {{from}}"}}},
		{"a token that is missing", "get: {{key}} is in neither path, headers nor body", httpdriver.Options{Model: "register", Get: &httpdriver.Request{Path: "/kv"}}},
		{"a key that a function has no use for", "get: declined: get has no use for it", httpdriver.Options{Model: "register", Get: &httpdriver.Request{Declined: []int{409}}}},
		{"a body of a put", "put: body: it is derived from the value; give its size with options.size", httpdriver.Options{Model: "objects", Put: &httpdriver.Request{Body: "x"}}},
		{"one group too few", `balances: element = "(a)" has 1 groups, not two: account and balance`, httpdriver.Options{Model: "bank", Balances: &httpdriver.Request{Element: "(a)"}}},
		{"a code with two meanings", "transfer: 409 is in fail and in declined", httpdriver.Options{Model: "bank", Transfer: &httpdriver.Request{Fail: []int{409}}}},
		{"amounts that cannot be sent", "inc: {{value}} is in neither path, headers nor body, so amount has to be 1", httpdriver.Options{Model: "counter", Amount: 2, Inc: &httpdriver.Request{Path: "/hit"}}},
		{"a negative weight", "writes: the weight of delete is negative", httpdriver.Options{Model: "register", Deletes: &minus}},
		{"no weight", "writes: no operation has a weight above 0", httpdriver.Options{Model: "queue", Writes: &zero, Reads: &zero}},
		{"no server", `endpoints[0]: "a" is not service:port`, httpdriver.Options{Endpoints: []string{"a"}}},
		{"live keys", "", httpdriver.Options{Model: "objects", LiveKeys: 5, LowWater: 0.5}},
		{"more live keys than keys", "live_keys: 11 is not between 0 and keys.count = 10", httpdriver.Options{Model: "objects", LiveKeys: 11}},
		{"live keys of a register", "live_keys: it is of model objects, not of register", httpdriver.Options{Model: "register", LiveKeys: 5}},
		{"a low water of all", "low_water: 1 is not above 0 and below 1", httpdriver.Options{Model: "objects", LowWater: 1}},
		{"a body that is too short", "size: 8 is not between 32 and 16777216", httpdriver.Options{Model: "objects", Size: 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := c.give.Validate(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			raw, err := json.Marshal(c.give)
			if err != nil {
				t.Fatal(err)
			}
			var back httpdriver.Options
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.give, back); diff != "" {
				t.Errorf("through JSON (-want +got):\n%s", diff)
			}
		})
	}
}
