package proxy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// manyRemoved is how many removed toxics a snapshot still counts.
const manyRemoved = 64

// Update is what UpdateToxic changes.
type Update struct {
	Toxicity   *float32       `json:"toxicity"`   // nil: as it was
	Attributes map[string]any `json:"attributes"` // those that are not named stay
}

// AddToxic adds t at the end of its direction's chain and returns it with its defaults filled in, once the bytes of every
// open connection go through it, which waits for no peer. Errors: ErrToxicAlreadyExists, ErrInvalidToxicType,
// ErrInvalidStream, another *APIError for bad attributes; ctx's, if it has ended before: then nothing is added.
func (l *Link) AddToxic(ctx context.Context, t Toxic) (Toxic, error) {
	x, err := newToxic(t, nil)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Toxic{}, fmt.Errorf("add toxic to link %s: %w", l.opts.Name, err)
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	if l.find(x.Name) >= 0 {
		l.mu.Unlock()
		return Toxic{}, fmt.Errorf("add toxic to link %s: %w", l.opts.Name, ErrToxicAlreadyExists)
	}
	l.toxics = append(l.toxics, x)
	dirs := l.started(x.dir)
	l.mu.Unlock()
	for _, d := range dirs {
		d.add(x)
		d.engage()
	}
	l.flows[x.dir].changed(time.Now())
	return x.Toxic, nil
}

// UpdateToxic changes a toxic and draws again which connections it acts on. Errors: ErrToxicNotFound, an *APIError for
// bad attributes.
func (l *Link) UpdateToxic(name string, u Update) (Toxic, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	i := l.find(name)
	if i < 0 {
		l.mu.Unlock()
		return Toxic{}, fmt.Errorf("update toxic on link %s: %w", l.opts.Name, ErrToxicNotFound)
	}
	old := l.toxics[i]
	t := old.Toxic
	t.Attributes = u.Attributes
	if u.Toxicity != nil {
		t.Toxicity = *u.Toxicity
	}
	x, err := newToxic(t, old)
	if err != nil {
		l.mu.Unlock()
		return Toxic{}, fmt.Errorf("update toxic on link %s: %w", l.opts.Name, err)
	}
	l.toxics[i] = x
	dirs := l.started(x.dir)
	l.mu.Unlock()
	for _, d := range dirs {
		d.update(x)
	}
	l.flows[x.dir].changed(time.Now())
	return x.Toxic, nil
}

// RemoveToxic removes a toxic. It does not wait for any peer: what the toxic held is on its way when RemoveToxic returns.
// The error is ErrToxicNotFound.
func (l *Link) RemoveToxic(name string) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	i := l.find(name)
	if i < 0 {
		l.mu.Unlock()
		return fmt.Errorf("remove toxic from link %s: %w", l.opts.Name, ErrToxicNotFound)
	}
	x := l.toxics[i]
	l.toxics = slices.Delete(slices.Clone(l.toxics), i, i+1)
	l.removed = append(l.removed, x)
	if len(l.removed) > manyRemoved {
		l.removed = slices.Clone(l.removed[len(l.removed)-manyRemoved:])
	}
	dirs := l.started(x.dir)
	l.mu.Unlock()
	for _, d := range dirs {
		d.remove(x)
	}
	l.flows[x.dir].changed(time.Now())
	return nil
}

// Toxics returns the active toxics, the upstream ones first, each direction in the order of its chain.
func (l *Link) Toxics() []Toxic {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Toxic, 0, len(l.toxics))
	for _, dir := range []stream.Direction{stream.Upstream, stream.Downstream} {
		for _, t := range l.toxics {
			if t.dir == dir {
				c := t.Toxic
				c.Attributes = maps.Clone(c.Attributes)
				out = append(out, c)
			}
		}
	}
	return out
}

// find needs l.mu. It returns -1 where there is none.
func (l *Link) find(name string) int {
	return slices.IndexFunc(l.toxics, func(t *toxic) bool { return t.Name == name })
}

// started needs l.mu. It returns one direction of each connection that has its toxics.
func (l *Link) started(dir stream.Direction) []*direction {
	var out []*direction
	for c := range l.conns {
		if d := c.dirs[dir]; d != nil {
			out = append(out, d)
		}
	}
	return out
}

// Snapshot returns what the link has done so far.
func (l *Link) Snapshot() Snapshot {
	now := time.Now()
	s := Snapshot{ // Dialling first: what ends meanwhile is counted twice rather than not at all
		Name: l.opts.Name, At: now,
		Accepted: l.accepted.Load(), Dialling: l.dialling.Load(), Dialled: l.dialled.Load(), DialFailed: l.dialFailed.Load(), GaveUp: l.gaveUp.Load(),
		Adopted: l.adopted.Load(), PassedRST: l.passedRST.Load(),
		Upstream:   l.flows[stream.Upstream].snapshot(now, l.opts.Sliding),
		Downstream: l.flows[stream.Downstream].snapshot(now, l.opts.Sliding),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Enabled, s.Clients, s.Open = l.enabled, len(l.attached), int64(len(l.conns))
	byName := func(a, b ToxicCount) int { return cmp.Compare(a.Name, b.Name) }
	past := []ToxicCount{}
	for _, t := range l.toxics {
		s.Toxics = append(s.Toxics, t.count(true))
	}
	for _, t := range l.removed {
		if t.stats.acted.Load() > 0 {
			past = append(past, t.count(false))
		}
	}
	slices.SortFunc(s.Toxics, byName)
	slices.SortStableFunc(past, byName)
	s.Toxics = append(s.Toxics, past...)
	for c, n := range l.hangups {
		c.Count = n
		s.Closed = append(s.Closed, c)
	}
	slices.SortFunc(s.Closed, func(a, b Closed) int {
		return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Type, b.Type), cmp.Compare(a.How, b.How))
	})
	return s
}
