package httpdriver

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/workload"
)

// Options is the options table of the http driver. A zero field means its default.
type Options struct {
	Model     string              `toml:"model" json:"model,omitempty" default:"set" enum:"set|log|register|objects|counter|queue|bank" doc:"what the operations are, and so which check judges them. set: add and read; log: the same, and the answer to read is in the log's order; register: write, get, cas and delete; objects: put, get, delete and list; counter: inc and get; queue: enqueue, dequeue and ack, of a queue that has to be empty when the run begins (nobody looks, for that would take something out); bank: transfer and balances"`
	Endpoints []string            `toml:"endpoints" json:"endpoints,omitempty" doc:"the servers that clients talk to, as in [\"node1:8080\", \"node2:8080\"]: a client keeps to one of them, so that it sees that one's view, and they have equally many; default: the target alone, which the final read asks in any case"`
	Add       Add                 `toml:"add" json:"add,omitzero" doc:"set and log: the request that adds one element"`
	Read      Read                `toml:"read" json:"read,omitzero" doc:"set and log: the request that answers with all elements"`
	Write     *Request            `toml:"write" json:"write,omitempty" doc:"register: set a key. Tokens: {{key}}, {{value}}; default: PUT /kv/{{key}}, body {{value}}"`
	Get       *Request            `toml:"get" json:"get,omitempty" doc:"register: read a key ({{key}}), default GET /kv/{{key}}; objects: default GET /objects/{{key}}; counter: read the count, default GET /counter. element: the first number of the answer"`
	CAS       *Request            `toml:"cas" json:"cas,omitempty" doc:"register: set a key if it has the value that the client saw last, {{from}} (0: it was not there). Without the table there is none; what it leaves out: PUT /kv/{{key}}, header If-Match: {{from}}, body {{value}}"`
	Delete    *Request            `toml:"delete" json:"delete,omitempty" doc:"register and objects: remove {{key}}; default: DELETE /kv/{{key}}, or /objects/{{key}}"`
	Put       *Request            `toml:"put" json:"put,omitempty" doc:"objects: store a body at {{key}}; {{value}} is its generation. Default: PUT /objects/{{key}}"`
	List      *Request            `toml:"list" json:"list,omitempty" doc:"objects: the keys of all objects; default: GET /objects, and every k0, k1 and so on of the answer"`
	Inc       *Request            `toml:"inc" json:"inc,omitempty" doc:"counter: add {{value}}; default: POST /counter, body {{value}}"`
	Enqueue   *Request            `toml:"enqueue" json:"enqueue,omitempty" doc:"queue: put {{value}} in; default: POST /queue, body {{value}}"`
	Dequeue   *Request            `toml:"dequeue" json:"dequeue,omitempty" doc:"queue: take a value out; default: POST /queue/dequeue, and the first number of the answer"`
	Ack       *Request            `toml:"ack" json:"ack,omitempty" doc:"queue: say that a dequeued value was worked off ({{value}}, {{token}}). Without the table there is no such request; what it leaves out: DELETE /queue/{{value}}"`
	Transfer  *Request            `toml:"transfer" json:"transfer,omitempty" doc:"bank: move {{amount}} from account {{from}} to {{to}}; default: POST /transfers, body {\"from\": \"{{from}}\", \"to\": \"{{to}}\", \"amount\": {{amount}}}. The accounts a0, a1 and so on have to be there"`
	Balances  *Request            `toml:"balances" json:"balances,omitempty" doc:"bank: the balances of all accounts at one instant; default: GET /balances, answered by a JSON object of account and balance"`
	Lists     float64             `toml:"lists" json:"lists,omitempty" default:"0" phase:"yes" doc:"set: share of the operations that read all elements during the run, from 0 to 1; the rest add one"`
	Writes    *int                `toml:"writes" json:"writes,omitempty" phase:"yes" doc:"weight of write, put, inc, enqueue and transfer among the operations; default: 4"`
	Reads     *int                `toml:"reads" json:"reads,omitempty" phase:"yes" doc:"weight of get, dequeue and balances; default: 4"`
	Swaps     *int                `toml:"swaps" json:"swaps,omitempty" phase:"yes" doc:"register: weight of cas; default: 2 where there is such a request"`
	Deletes   *int                `toml:"deletes" json:"deletes,omitempty" phase:"yes" doc:"register and objects: weight of delete; default: 1"`
	Scans     *int                `toml:"scans" json:"scans,omitempty" phase:"yes" doc:"objects: weight of list; default: 1"`
	Size      int                 `toml:"size" json:"size,omitempty" default:"256" doc:"objects: bytes of a body, at least 32"`
	LiveKeys  int                 `toml:"live_keys" json:"live_keys,omitempty" doc:"objects: most that are there at a time, puts in flight included; 0: keys.count"`
	LowWater  float64             `toml:"low_water" json:"low_water,omitempty" default:"0.8" doc:"objects: where a put would exceed live_keys, it and the puts of new keys after it become deletes of the oldest objects, until at most this part of live_keys is left"`
	Amount    int                 `toml:"amount" json:"amount,omitempty" default:"1" phase:"yes" doc:"counter and bank: most that one inc adds, or one transfer moves"`
	Accounts  int                 `toml:"accounts" json:"accounts,omitempty" default:"8" doc:"bank: how many accounts transfers are between"`
	Timeout   units.Duration      `toml:"timeout" json:"timeout,omitzero" default:"5s" doc:"how long a client waits for an answer before it gives the request up; shorter than the workload's timeout, after which an operation counts as hanging"`
	Keys      workload.KeyOptions `toml:"keys" json:"keys,omitzero" doc:"what {{key}} stands for: k0, k1 and so on"`
}

// Add is the request that adds one element. In path, headers and body, {{id}} is the element, a decimal number, and {{key}}
// one of the keys.
type Add struct {
	Method  string            `toml:"method" json:"method,omitempty" default:"POST" doc:"the method"`
	Path    string            `toml:"path" json:"path,omitempty" default:"/orders" doc:"the path, and query; {{id}} is the element, a decimal number, {{key}} a key"`
	Headers map[string]string `toml:"headers" json:"headers,omitempty" doc:"headers; {{id}} and {{key}} as in path. With a body, Content-Type is application/json unless it is given"`
	Body    string            `toml:"body" json:"body,omitempty" doc:"the body; {{id}} and {{key}} as in path. Without one (and without an {{id}} in path or headers): {\"id\": {{id}}}"`
	OK      []int             `toml:"ok" json:"ok,omitempty" default:"[201, 200, 204]" doc:"the codes that acknowledge the element"`
	Fail    []int             `toml:"fail" json:"fail" doc:"the codes that say that it was surely not added; without the key, 400 to 499 without 408, 409, 425 and 429"`
}

// Read is the request that answers with all elements.
type Read struct {
	Method  string            `toml:"method" json:"method,omitempty" default:"GET" doc:"the method"`
	Path    string            `toml:"path" json:"path,omitempty" default:"/orders" doc:"the path, and query"`
	Headers map[string]string `toml:"headers" json:"headers,omitempty" doc:"headers"`
	Body    string            `toml:"body" json:"body,omitempty" doc:"the body"`
	Element string            `toml:"element" json:"element,omitempty" default:"([0-9]+)" doc:"a regular expression with one group, which finds each element in the answer's body"`
	OK      []int             `toml:"ok" json:"ok,omitempty" default:"[200]" doc:"the codes of an answer"`
}

const defaultTimeout = 5 * time.Second

// DefaultClients is how many clients there are where the scenario does not say.
func (o Options) DefaultClients() int {
	if o.Model == modelObjects {
		return workload.ObjectClients
	}
	return 1
}

// Judged says which checks judge the operations.
func (o Options) Judged(kind string, _ json.RawMessage) error {
	return workload.JudgedBy(kind, o.WithDefaults().Model)
}

// ForClients says why so many clients cannot work with o.
func (o Options) ForClients(n int) error { return workload.ValidateLiveClients(o.LiveKeys, n) }

// WithDefaults is o with every zero field set to its default, but for Add.Fail.
func (o Options) WithDefaults() Options {
	text := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	text(&o.Add.Method, http.MethodPost)
	text(&o.Add.Path, "/orders")
	if o.Add.Body == "" && !o.Add.carries(tokenID) {
		o.Add.Body = `{"id": {{id}}}`
	}
	if len(o.Add.OK) == 0 {
		o.Add.OK = []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}
	}
	text(&o.Read.Method, http.MethodGet)
	text(&o.Read.Path, "/orders")
	text(&o.Read.Element, "([0-9]+)")
	if len(o.Read.OK) == 0 {
		o.Read.OK = []int{http.StatusOK}
	}
	if o.Timeout == 0 {
		o.Timeout = units.Duration(defaultTimeout)
	}
	o.Keys = o.Keys.WithDefaults()
	text(&o.Model, modelSet)
	number := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	number(&o.Size, 256)
	if o.LowWater == 0 {
		o.LowWater = workload.DefaultLowWater
	}
	number(&o.Amount, 1)
	number(&o.Accounts, 8)
	for _, f := range functions(o.Model) {
		if r := f.pick(&o); *r != nil || !f.only {
			*r = f.complete(*r)
		}
	}
	return o
}

// carries reports whether a token stands in any part of the request.
func (a Add) carries(token string) bool {
	return (&Request{Path: a.Path, Body: a.Body, Headers: a.Headers}).carries(token)
}

func (a Add) parts() []string {
	return (&Request{Path: a.Path, Body: a.Body, Headers: a.Headers}).parts()
}
