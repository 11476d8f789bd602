package httpdriver

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/discompose/discompose/workload"
)

// Validate joins every problem of o, defaults applied; each begins with the key of o that it is about.
func (o Options) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(key string, problems ...error) {
		for _, err := range problems {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", key, err))
			}
		}
	}
	switch {
	case !slices.Contains(everyModel(), o.Model):
		report("model", fmt.Errorf("%q is not one of %s", o.Model, strings.Join(everyModel(), ", ")))
	case o.Model == modelSet || o.Model == modelLog:
		report("add", o.Add.check()...)
		report("read", request(o.Read.Method, o.Read.Path, o.Read.Headers), codes("ok", o.Read.OK), expression("element", o.Read.Element, 1))
	default:
		o.checkModel(report)
	}
	o.foreign(report)
	if o.Lists < 0 || o.Lists > 1 {
		report("lists", fmt.Errorf("%g is not between 0 and 1", o.Lists))
	}
	for i, e := range o.Endpoints {
		if host, port, ok := strings.Cut(e, ":"); !ok || host == "" || port == "" {
			report(fmt.Sprintf("endpoints[%d]", i), fmt.Errorf("%q is not service:port", e))
		}
	}
	between := func(key string, n, least, most int) {
		if n < least || n > most {
			report(key, fmt.Errorf("%d is not between %d and %d", n, least, most))
		}
	}
	between("size", o.Size, workload.MinBody, 1<<24)
	between("amount", o.Amount, 1, 1<<30)
	between("accounts", o.Accounts, 2, 1000)
	if t := o.Timeout.Std(); t < 10*time.Millisecond || t > time.Hour {
		report("timeout", fmt.Errorf("%s is not between 10ms and 1h", o.Timeout))
	}
	report("keys", o.Keys.Validate())
	return errors.Join(append(errs, workload.ValidateLive(o.LiveKeys, o.Keys.Count, o.LowWater))...)
}

// check reports what is wrong with the request of a set.
func (a Add) check() []error {
	errs := []error{request(a.Method, a.Path, a.Headers), tokens(a.parts(), []string{tokenID, tokenKey}), codes("ok", a.OK), codes("fail", a.Fail)}
	if !a.carries(tokenID) {
		errs = append(errs, errors.New("{{id}} is in neither path, headers nor body: every request would be the same"))
	}
	for _, code := range a.OK {
		if slices.Contains(a.Fail, code) {
			errs = append(errs, fmt.Errorf("%d is in ok and in fail", code))
		}
	}
	return errs
}

// checkModel reports what is wrong with the requests of a model that is neither set nor log, and with its weights.
func (o Options) checkModel(report func(key string, problems ...error)) {
	for _, f := range functions(o.Model) {
		if r := *f.pick(&o); r != nil {
			report(f.name, f.check(r)...)
		}
	}
	if o.Model == modelCounter && o.Amount > 1 && !o.Inc.carries(tokenValue) {
		report("inc", errors.New("{{value}} is in neither path, headers nor body, so amount has to be 1"))
	}
	sum := 0
	for _, w := range o.weights() {
		if w.Weight < 0 {
			report("writes", fmt.Errorf("the weight of %s is negative", w.Name))
		}
		sum += max(w.Weight, 0)
	}
	if sum == 0 {
		report("writes", errors.New("no operation has a weight above 0"))
	}
}

// foreign reports what is there and is of another model.
func (o Options) foreign(report func(key string, problems ...error)) {
	ours := map[**Request]bool{}
	for _, f := range functions(o.Model) {
		ours[f.pick(&o)] = true
	}
	not := func(key, model string) { report(key, fmt.Errorf("it is of model %s, not of %s", model, o.Model)) }
	for _, m := range everyModel() {
		for _, f := range functions(m) {
			if at := f.pick(&o); !ours[at] && *at != nil {
				not(f.name, m)
				ours[at] = true // once is enough
			}
		}
	}
	if o.Lists > 0 && o.Model != modelSet {
		not("lists", modelSet)
	}
	if o.LiveKeys != 0 && o.Model != modelObjects {
		not("live_keys", modelObjects)
	}
	if o.Model == modelSet || o.Model == modelLog {
		return
	}
	plain := Options{}.WithDefaults()
	if !reflect.DeepEqual(o.Add, plain.Add) {
		not("add", modelSet)
	}
	if !reflect.DeepEqual(o.Read, plain.Read) {
		not("read", modelSet)
	}
}

// request checks what a request line and headers are made of.
func request(method, path string, headers map[string]string) error {
	var errs []error
	if !isToken(method) {
		errs = append(errs, fmt.Errorf("method = %q is no HTTP method", method))
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #\r\n\t") {
		errs = append(errs, fmt.Errorf("path = %q is no path of a URL (write as in \"/orders?limit=0\")", path))
	}
	for name, value := range headers {
		if !isToken(name) || strings.ContainsFunc(value, unicode.IsControl) {
			errs = append(errs, fmt.Errorf("headers: %q = %q is no HTTP header", name, value))
		}
	}
	return errors.Join(errs...)
}

// isToken reports whether s is a token of HTTP (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// tokens reports a token that is not one of known.
func tokens(parts, known []string) error {
	for _, s := range parts {
		for _, token := range known {
			s = strings.ReplaceAll(s, token, "")
		}
		if i := strings.Index(s, "{{"); i >= 0 {
			token, _, _ := strings.Cut(s[i:], "}}")
			return fmt.Errorf("there is no %s}} (write %s)", token, strings.Join(known, " or "))
		}
	}
	return nil
}

func codes(key string, list []int) error {
	for _, c := range list {
		if c < 200 || c > 599 {
			return fmt.Errorf("%s: %d is no status of an answer", key, c)
		}
	}
	return nil
}
