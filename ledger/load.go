package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Load reads everything that the ledger holds into memory: operations in the order of Invoke, the other lists in the
// order of time. run becomes the history's Run. It flushes first.
func (s *Store) Load(ctx context.Context, run Run) (*History, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	h := &History{Run: run}
	for _, load := range []func(context.Context, *History) error{s.loadOps, s.loadFaults, s.loadWitnesses, s.loadEvents, s.loadGates} {
		if err := load(ctx, h); err != nil {
			return nil, fmt.Errorf("load ledger %s: %w", s.path, err)
		}
	}
	return h, nil
}

// SortOps brings operations into the order of a History: by Invoke, then by ID.
func SortOps(ops []Op) {
	slices.SortFunc(ops, func(a, b Op) int { return cmp.Or(cmp.Compare(a.Invoke, b.Invoke), cmp.Compare(a.ID, b.ID)) })
}

// The first format has no column data.
const (
	selectOps = `SELECT id, workload, process, func, key, value, sum, partition, offset, planned, invoke, complete, outcome, error, data FROM operation ORDER BY id`
	selectOld = `SELECT id, workload, process, func, key, value, sum, partition, offset, planned, invoke, complete, outcome, error, NULL FROM operation ORDER BY id`
)

// loadOps reads through the driver itself: database/sql would triple the time.
func (s *Store) loadOps(ctx context.Context, h *History) (err error) {
	var count int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM operation").Scan(&count); err != nil {
		return fmt.Errorf("count operations: %w", err)
	}
	h.Ops = make([]Op, 0, count)
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = conn.Raw(func(dc any) (err error) {
		q, ok := dc.(driver.QueryerContext)
		if !ok {
			return fmt.Errorf("driver %T cannot query", dc)
		}
		query := selectOps
		if s.format < 2 {
			query = selectOld
		}
		rows, err := q.QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		return h.scanOps(rows)
	})
	if err != nil {
		return fmt.Errorf("read operations: %w", err)
	}
	SortOps(h.Ops)
	return nil
}

func (h *History) scanOps(rows driver.Rows) error {
	var d [opColumns]driver.Value
	names := map[string]string{}
	for {
		if err := rows.Next(d[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		number := func(i int) int64 { v, _ := d[i].(int64); return v }
		text := func(i int) string { v, _ := d[i].(string); return v }
		// Few different names repeat in every row: keep one copy of each.
		name := func(i int) string {
			v := text(i)
			if known, ok := names[v]; ok {
				return known
			}
			names[v] = v
			return v
		}
		h.Ops = append(h.Ops, Op{
			ID: number(0), Workload: name(1), Process: int(number(2)), Func: name(3), Key: text(4), Value: number(5),
			Sum: uint32(number(6)), Partition: int32(number(7)), Offset: number(8), //nolint:gosec // written from these types
			Planned: number(9), Invoke: number(10), Complete: number(11), Outcome: Outcome(name(12)), Error: text(13), Data: text(14),
		})
	}
}

func (s *Store) loadFaults(ctx context.Context, h *History) error {
	var f Fault
	err := s.each(ctx, "SELECT record, id, kind, target, container, mechanism, planned, called, applied, confirmed, released, gone, settled, error FROM fault ORDER BY rowid",
		func() { h.Faults = append(h.Faults, f) },
		&f.Record, &f.ID, &f.Kind, &f.Target, &f.Container, &f.Mechanism, &f.Planned, &f.Called, &f.Applied, &f.Confirmed, &f.Released, &f.Gone, &f.Settled, &f.Error)
	slices.SortStableFunc(h.Faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.start(), b.start()), cmp.Compare(a.Record, b.Record))
	})
	return err
}

// start is when the fault was called, or was to be called where it was not.
func (f Fault) start() int64 {
	if f.Called > 0 {
		return f.Called
	}
	return f.Planned
}

func (s *Store) loadWitnesses(ctx context.Context, h *History) error {
	var w Witness
	err := s.each(ctx, "SELECT record, active, what, value, unit, note, at FROM witness ORDER BY n",
		func() { h.Witnesses = append(h.Witnesses, w) }, &w.Record, &w.Active, &w.What, &w.Value, &w.Unit, &w.Note, &w.At)
	slices.SortStableFunc(h.Witnesses, func(a, b Witness) int { return cmp.Compare(a.At, b.At) })
	return err
}

func (s *Store) loadEvents(ctx context.Context, h *History) error {
	var e Event
	err := s.each(ctx, "SELECT at, source, type, service, detail FROM event ORDER BY n",
		func() { h.Events = append(h.Events, e) }, &e.At, &e.Source, &e.Type, &e.Service, &e.Detail)
	slices.SortStableFunc(h.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return err
}

func (s *Store) loadGates(ctx context.Context, h *History) error {
	var g Gate
	err := s.each(ctx, "SELECT at, name, held, note FROM gate ORDER BY n",
		func() { h.Gates = append(h.Gates, g) }, &g.At, &g.Name, &g.Held, &g.Note)
	slices.SortStableFunc(h.Gates, func(a, b Gate) int { return cmp.Compare(a.At, b.At) })
	return err
}

// each scans every row of a query into dest and calls row.
func (s *Store) each(ctx context.Context, query string, row func(), dest ...any) (err error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("query %q: %w", query, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return fmt.Errorf("scan %q: %w", query, err)
		}
		row()
	}
	return rows.Err()
}

// Results returns what SaveResult stored under a kind: name → body. Violations are not listed here.
func (s *Store) Results(ctx context.Context, kind string) (map[string]json.RawMessage, error) {
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	var name, k string
	var body sql.RawBytes
	err := s.each(ctx, "SELECT kind, name, body FROM check_result", func() {
		if k == kind {
			out[name] = slices.Clone(json.RawMessage(body))
		}
	}, &k, &name, &body)
	if err != nil {
		return nil, fmt.Errorf("load results: %w", err)
	}
	return out, nil
}
