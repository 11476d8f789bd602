package httpdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Request is the request of one function. What a key leaves out is the function's default. In path, headers and body stand
// tokens; which ones, and the defaults, are in the table of functions.
type Request struct {
	Method   string            `toml:"method" json:"method,omitempty" doc:"the method"`
	Path     string            `toml:"path" json:"path,omitempty" doc:"the path, and query, with tokens"`
	Headers  map[string]string `toml:"headers" json:"headers,omitempty" doc:"headers, with tokens. With a body, Content-Type is application/json unless it is given (put: application/octet-stream)"`
	Body     string            `toml:"body" json:"body,omitempty" doc:"the body, with tokens; put has none: its body is derived from the value, options.size bytes"`
	OK       []int             `toml:"ok" json:"ok,omitempty" doc:"the codes that say that it took effect; default: 200 of what only reads, else 200, 201 and 204 (delete: 404, too)"`
	Fail     []int             `toml:"fail" json:"fail" doc:"the codes that say that it surely did not take effect; without the key, 400 to 499 without 408, 409, 425 and 429"`
	Declined []int             `toml:"declined" json:"declined" doc:"cas and transfer: the codes that say that it does not apply, so that nothing was changed; default: 412 of a cas, 409 of a transfer; []: none, so that they tell nothing where something may send a request twice"`
	Absent   []int             `toml:"absent" json:"absent" doc:"get: the codes that say that the key is not there; default: 404"`
	Empty    []int             `toml:"empty" json:"empty" doc:"dequeue: the codes that say that nothing is in the queue; default: 204 and 404"`
	Element  string            `toml:"element" json:"element,omitempty" doc:"what reads, and dequeue: a regular expression with one group (balances: two, account and balance) which finds what the answer's body tells"`
	Token    string            `toml:"token" json:"token,omitempty" doc:"dequeue: a regular expression with one group, which finds in the answer's body what {{token}} of ack stands for"`
}

// The tokens of templates.
const (
	tokenID     = "{{id}}"
	tokenKey    = "{{key}}"
	tokenValue  = "{{value}}"
	tokenFrom   = "{{from}}"
	tokenTo     = "{{to}}"
	tokenAmount = "{{amount}}"
	tokenAck    = "{{token}}"
	tokenOp     = "{{op}}"
)

// function is what a model knows of one of its requests.
type function struct {
	name   string  // as in package ledger, and of its table
	def    Request // what a scenario leaves out
	tokens []string
	needs  []string // of these: without them every request would be the same
	only   bool     // there is none without a table
	groups int      // of Element; 0: it has none
	pick   func(*Options) **Request
}

// parts are the texts of a request that may have tokens.
func (r *Request) parts() []string {
	parts := []string{r.Path, r.Body}
	for _, v := range r.Headers {
		parts = append(parts, v)
	}
	return parts
}

// carries reports whether a token stands in any part of the request.
func (r *Request) carries(token string) bool {
	return slices.ContainsFunc(r.parts(), func(s string) bool { return strings.Contains(s, token) })
}

// complete is the request of f that a scenario gives, with what it leaves out.
func (f function) complete(given *Request) *Request {
	if given == nil {
		given = &Request{}
	}
	r := *given
	r.Method, r.Path = cmp.Or(r.Method, f.def.Method), cmp.Or(r.Path, f.def.Path)
	r.Element = cmp.Or(r.Element, f.def.Element)
	lacks := func(token string) bool { return !r.carries(token) }
	if r.Headers == nil && slices.ContainsFunc(f.needs, lacks) {
		r.Headers = f.def.Headers
	}
	if r.Body == "" && (given.Path == "" || slices.ContainsFunc(f.needs, lacks)) {
		r.Body = f.def.Body
	}
	if len(r.OK) == 0 {
		r.OK = f.def.OK
	}
	for _, list := range []struct{ into, def *[]int }{{&r.Declined, &f.def.Declined}, {&r.Absent, &f.def.Absent}, {&r.Empty, &f.def.Empty}} {
		if *list.into == nil { // an empty one says: no code
			*list.into = *list.def
		}
	}
	return &r
}

// check reports what is wrong with a request of f that is complete.
func (f function) check(r *Request) []error {
	errs := []error{
		request(r.Method, r.Path, r.Headers), tokens(r.parts(), f.tokens),
		codes("ok", r.OK), codes("fail", r.Fail), codes("declined", r.Declined), codes("absent", r.Absent), codes("empty", r.Empty),
	}
	for _, token := range f.needs {
		if !r.carries(token) {
			errs = append(errs, fmt.Errorf("%s is in neither path, headers nor body", token))
		}
	}
	if f.name == ledger.FuncPut && r.Body != "" {
		errs = append(errs, errors.New("body: it is derived from the value; give its size with options.size"))
	}
	useless := func(key string, has, def bool) {
		if has && !def {
			errs = append(errs, fmt.Errorf("%s: %s has no use for it", key, f.name))
		}
	}
	useless("declined", len(r.Declined) > 0, len(f.def.Declined) > 0)
	useless("absent", len(r.Absent) > 0, len(f.def.Absent) > 0)
	useless("empty", len(r.Empty) > 0, len(f.def.Empty) > 0)
	useless("element", r.Element != "", f.groups > 0)
	useless("token", r.Token != "", f.name == ledger.FuncDequeue)
	if f.groups > 0 {
		errs = append(errs, expression("element", r.Element, f.groups))
	}
	if r.Token != "" {
		errs = append(errs, expression("token", r.Token, 1))
	}
	return append(errs, r.contradictions()...)
}

// contradictions lists codes that say two things.
func (r *Request) contradictions() []error {
	var errs []error
	meaning := map[int]string{}
	for _, list := range []struct {
		name  string
		codes []int
	}{{"ok", r.OK}, {"fail", r.Fail}, {"declined", r.Declined}, {"absent", r.Absent}, {"empty", r.Empty}} {
		for _, code := range list.codes {
			if other := meaning[code]; other != "" && other != list.name {
				errs = append(errs, fmt.Errorf("%d is in %s and in %s", code, other, list.name))
			}
			meaning[code] = list.name
		}
	}
	return errs
}

// expression checks a regular expression with so many groups.
func expression(key, text string, groups int) error {
	re, err := regexp.Compile(text)
	if err != nil {
		return fmt.Errorf("%s: %s", key, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if n := re.NumSubexp(); n != groups {
		return fmt.Errorf("%s = %q has %d groups, not %s", key, text, n, map[int]string{1: "one: the element is the group's", 2: "two: account and balance"}[groups])
	}
	return nil
}

// call is a request that is ready to be sent again and again.
type call struct {
	*Request
	element *regexp.Regexp
	token   *regexp.Regexp
}

func newCall(r *Request) *call {
	if r == nil {
		return nil
	}
	c := &call{Request: r}
	if r.Element != "" {
		c.element = regexp.MustCompile(r.Element)
	}
	if r.Token != "" {
		c.token = regexp.MustCompile(r.Token)
	}
	return c
}

// find is what the first match of element in a body says; ok is whether there is one.
func (c *call) find(body []byte) (text string, ok bool) {
	m := c.element.FindSubmatch(body)
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

// send sends a request with its tokens filled in, and reads up to most bytes of the answer.
func (s *session) send(ctx context.Context, c *call, fill []string, most int64) (answer, bool, error) {
	return s.sendBody(ctx, c, fill, "", most)
}

// sendBody is send with a body that is no template, unless it is empty.
func (s *session) sendBody(ctx context.Context, c *call, fill []string, body string, most int64) (answer, bool, error) {
	if c.carries(tokenOp) {
		fill = append(slices.Clone(fill), tokenOp, fmt.Sprintf("%d-%d", s.process, s.s.sent.Add(1)))
	}
	filled := strings.NewReplacer(fill...)
	headers := make(map[string]string, len(c.Headers)+1)
	if body == "" {
		body = filled.Replace(c.Body)
	} else {
		headers["Content-Type"] = "application/octet-stream"
	}
	for name, value := range c.Headers {
		headers[http.CanonicalHeaderKey(name)] = filled.Replace(value)
	}
	m, err := newMessage(ctx, c.Method, "http://"+s.c.addr+filled.Replace(c.Path), headers, body)
	if err != nil {
		return answer{}, false, err
	}
	return s.c.exchange(ctx, m, most)
}

// change carries out a request that changes something: its outcome is that of the package's table.
func (s *session) change(ctx context.Context, c *call, body string, fill ...string) (ledger.Outcome, error) {
	a, sent, err := s.sendBody(ctx, c, fill, body, maxShown)
	if err != nil {
		return outcome(c.OK, c.Fail, sent, 0), err
	}
	if slices.Contains(c.Declined, a.status) {
		return ledger.Failed, workload.ErrDeclined
	}
	if out := outcome(c.OK, c.Fail, sent, a.status); out != ledger.OK {
		return out, a.err()
	}
	return ledger.OK, nil
}

// ask carries out a request that only reads, whole. absent says that the answer was one of Absent.
func (s *session) ask(ctx context.Context, c *call, most int64, fill ...string) (body []byte, absent bool, err error) {
	a, _, err := s.send(ctx, c, fill, most)
	switch {
	case err != nil:
		return nil, false, err
	case slices.Contains(c.Absent, a.status):
		return nil, true, nil
	case !slices.Contains(c.OK, a.status):
		return nil, false, a.err()
	case a.broken != nil:
		return nil, false, fmt.Errorf("read body: %w", workload.Concise(a.broken))
	}
	return a.body, false, nil
}
