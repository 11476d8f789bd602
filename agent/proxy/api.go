package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Version is the version of Toxiproxy whose HTTP API the API speaks.
const Version = "2.12.0"

// APIError is an error as Toxiproxy's API reports it. Errors of AddToxic, UpdateToxic and RemoveToxic wrap one.
type APIError struct {
	Message string `json:"error"`
	Status  int    `json:"status"` // of HTTP
}

// Error returns the message.
func (e *APIError) Error() string { return e.Message }

// The errors of Toxiproxy's API, with its own texts.
var (
	ErrProxyNotFound      = &APIError{"proxy not found", http.StatusNotFound}
	ErrToxicNotFound      = &APIError{"toxic not found", http.StatusNotFound}
	ErrToxicAlreadyExists = &APIError{"toxic already exists", http.StatusConflict}
	ErrInvalidToxicType   = &APIError{"invalid toxic type", http.StatusBadRequest}
	ErrInvalidStream      = &APIError{"stream was invalid, can be either upstream or downstream", http.StatusBadRequest}
	ErrFixed              = &APIError{"links are made by discompose: declare a [[link]] in the scenario", http.StatusForbidden}
)

func badRequest(format string, args ...any) error {
	return &APIError{"bad request body: " + fmt.Sprintf(format, args...), http.StatusBadRequest}
}

// Change is one change that came through an API.
type Change struct {
	Link  string // its name
	Op    string // "add", "update", "remove", "enable", "disable"
	Toxic Toxic  // of add, update and remove; only its name for remove
	Own   bool   // what API.Own said
}

// API serves Toxiproxy's HTTP API over links. The zero value has no links. Links are neither made, removed nor moved
// through it: such requests get ErrFixed.
type API struct {
	// Own says whether a request is our own; nil: none is. Set it before serving.
	Own func(*http.Request) bool
	// OnChange is told every change after it has taken effect, one at a time; nil: nobody. Set it before serving.
	OnChange func(Change)

	changes sync.Mutex // one OnChange at a time
	mu      sync.Mutex
	links   map[string]*Link
}

// Add makes a link known by its name. A link of the same name is replaced.
func (a *API) Add(l *Link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.links == nil {
		a.links = map[string]*Link{}
	}
	a.links[l.Name()] = l
}

// Remove forgets a link.
func (a *API) Remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.links, name)
}

// apiProxy is a link in the API.
type apiProxy struct {
	Name     string  `json:"name"`
	Listen   string  `json:"listen"`
	Upstream string  `json:"upstream"`
	Enabled  bool    `json:"enabled"`
	Toxics   []Toxic `json:"toxics"`
}

func show(l *Link) apiProxy {
	p := apiProxy{Name: l.opts.Name, Upstream: l.opts.Upstream, Enabled: l.Enabled(), Toxics: l.Toxics()}
	if as := l.Addrs(); len(as) > 0 {
		p.Listen = as[0].String()
	}
	return p
}

// Handler returns the HTTP handler.
func (a *API) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		_ = reply(w, http.StatusOK, map[string]string{"version": Version}) // the client has gone
	})
	m.HandleFunc("GET /proxies", a.index)
	m.HandleFunc("POST /reset", a.reset)
	fixed := func(w http.ResponseWriter, _ *http.Request) { fail(w, ErrFixed) }
	m.HandleFunc("POST /proxies", fixed)
	m.HandleFunc("POST /populate", fixed)
	m.HandleFunc("DELETE /proxies/{proxy}", fixed)
	m.HandleFunc("GET /proxies/{proxy}", a.on(func(w http.ResponseWriter, _ *http.Request, l *Link) error {
		return reply(w, http.StatusOK, show(l))
	}))
	m.HandleFunc("GET /proxies/{proxy}/toxics", a.on(func(w http.ResponseWriter, _ *http.Request, l *Link) error {
		return reply(w, http.StatusOK, l.Toxics())
	}))
	m.HandleFunc("GET /proxies/{proxy}/toxics/{toxic}", a.on(showToxic))
	m.HandleFunc("POST /proxies/{proxy}/toxics", a.on(a.addToxic))
	m.HandleFunc("DELETE /proxies/{proxy}/toxics/{toxic}", a.on(a.removeToxic))
	for _, method := range []string{"POST", "PATCH"} {
		m.HandleFunc(method+" /proxies/{proxy}", a.on(a.updateProxy))
		m.HandleFunc(method+" /proxies/{proxy}/toxics/{toxic}", a.on(a.updateToxic))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As Toxiproxy does: a page in a browser must not change anything here.
		if strings.HasPrefix(r.UserAgent(), "Mozilla/") {
			http.Error(w, "User agent not allowed", http.StatusForbidden)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// on finds the request's link and reports errors.
func (a *API) on(f func(http.ResponseWriter, *http.Request, *Link) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		l := a.links[r.PathValue("proxy")]
		a.mu.Unlock()
		if l == nil {
			fail(w, ErrProxyNotFound)
			return
		}
		if err := f(w, r, l); err != nil {
			fail(w, err)
		}
	}
}

func (a *API) all() []*Link {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Link, 0, len(a.links))
	for _, l := range a.links {
		out = append(out, l)
	}
	slices.SortFunc(out, func(x, y *Link) int { return strings.Compare(x.Name(), y.Name()) })
	return out
}

func (a *API) index(w http.ResponseWriter, _ *http.Request) {
	out := map[string]apiProxy{}
	for _, l := range a.all() {
		out[l.Name()] = show(l)
	}
	_ = reply(w, http.StatusOK, out)
}

func showToxic(w http.ResponseWriter, r *http.Request, l *Link) error {
	for _, t := range l.Toxics() {
		if t.Name == r.PathValue("toxic") {
			return reply(w, http.StatusOK, t)
		}
	}
	return ErrToxicNotFound
}

func (a *API) addToxic(w http.ResponseWriter, r *http.Request, l *Link) error {
	t := Toxic{Toxicity: 1}
	if err := decode(w, r, &t); err != nil {
		return err
	}
	t, err := l.AddToxic(r.Context(), t)
	if err != nil {
		return err
	}
	a.changed(r, Change{Link: l.Name(), Op: "add", Toxic: t})
	return reply(w, http.StatusOK, t)
}

func (a *API) updateToxic(w http.ResponseWriter, r *http.Request, l *Link) error {
	var u Update
	if err := decode(w, r, &u); err != nil {
		return err
	}
	t, err := l.UpdateToxic(r.PathValue("toxic"), u)
	if err != nil {
		return err
	}
	a.changed(r, Change{Link: l.Name(), Op: "update", Toxic: t})
	return reply(w, http.StatusOK, t)
}

func (a *API) removeToxic(w http.ResponseWriter, r *http.Request, l *Link) error {
	name := r.PathValue("toxic")
	if err := l.RemoveToxic(name); err != nil {
		return err
	}
	a.changed(r, Change{Link: l.Name(), Op: "remove", Toxic: Toxic{Name: name}})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) updateProxy(w http.ResponseWriter, r *http.Request, l *Link) error {
	was := show(l)
	in := was
	if err := decode(w, r, &in); err != nil {
		return err
	}
	if in.Name != was.Name || in.Listen != was.Listen || in.Upstream != was.Upstream {
		return ErrFixed
	}
	if err := a.enable(r, l, in.Enabled); err != nil {
		return err
	}
	return reply(w, http.StatusOK, show(l))
}

func (a *API) enable(r *http.Request, l *Link, on bool) error {
	if l.Enabled() == on {
		return nil
	}
	if err := l.SetEnabled(on); err != nil {
		return err
	}
	op := "disable"
	if on {
		op = "enable"
	}
	a.changed(r, Change{Link: l.Name(), Op: op})
	return nil
}

func (a *API) reset(w http.ResponseWriter, r *http.Request) {
	for _, l := range a.all() {
		if err := a.enable(r, l, true); err != nil {
			fail(w, err)
			return
		}
		for _, t := range l.Toxics() {
			switch err := l.RemoveToxic(t.Name); {
			case err == nil:
				a.changed(r, Change{Link: l.Name(), Op: "remove", Toxic: Toxic{Name: t.Name}})
			case errors.Is(err, ErrToxicNotFound): // somebody else was faster
			default:
				fail(w, err)
				return
			}
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) changed(r *http.Request, c Change) {
	if a.OnChange == nil {
		return
	}
	c.Own = a.Own != nil && a.Own(r)
	a.changes.Lock()
	defer a.changes.Unlock()
	a.OnChange(c)
}

func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		return badRequest("%v", err)
	}
	return nil
}

// reply writes v. A client that has gone is nobody's error.
func reply(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
	return nil
}

func fail(w http.ResponseWriter, err error) {
	var e *APIError
	if !errors.As(err, &e) {
		e = &APIError{err.Error(), http.StatusInternalServerError}
	}
	_ = reply(w, e.Status, e)
}
