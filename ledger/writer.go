package ledger

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// rowsPerInsert is how many operations one execution of the insert takes. More is slower: the driver looks up each
// argument by a linear search.
const rowsPerInsert = 4

// writer owns the connection that writes. It talks to the driver itself: database/sql would convert and copy every
// argument once more.
type writer struct {
	conn  driver.Conn
	stmts map[string]driver.StmtExecContext // by their SQL
	args  [rowsPerInsert * opColumns]driver.NamedValue
}

func newWriter(d driver.Driver, source string) (*writer, error) {
	conn, err := d.Open(source)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	w := &writer{conn: conn, stmts: map[string]driver.StmtExecContext{}}
	for i := range w.args {
		w.args[i].Ordinal = i + 1
	}
	return w, nil
}

// insertOps is the insert of n operations. OR FAIL spares SQLite the journal that would undo a half-done statement, which
// costs more than the insert: after an error the whole transaction is rolled back anyway.
func insertOps(n int) string {
	one := "(" + strings.Repeat("?,", opColumns-1) + "?)"
	return "INSERT OR FAIL INTO operation VALUES " + strings.Repeat(one+",", n-1) + one
}

// commit writes a batch in one transaction; after an error nothing of it is kept.
func (w *writer) commit(b batch) error {
	if err := w.exec("BEGIN IMMEDIATE", nil); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := errors.Join(w.insertAll(b.ops), w.execAll(b.rows))
	if err == nil {
		err = w.exec("COMMIT", nil)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write ledger: %w", err), w.exec("ROLLBACK", nil))
	}
	return nil
}

func (w *writer) insertAll(ops []Op) error {
	four, one := insertOps(rowsPerInsert), insertOps(1)
	for ; len(ops) >= rowsPerInsert; ops = ops[rowsPerInsert:] {
		for i := range rowsPerInsert {
			bindOp(w.args[i*opColumns:], &ops[i])
		}
		if err := w.exec(four, w.args[:]); err != nil {
			return fmt.Errorf("insert operations from %d: %w", ops[0].ID, err)
		}
	}
	for i := range ops {
		bindOp(w.args[:], &ops[i])
		if err := w.exec(one, w.args[:opColumns]); err != nil {
			return fmt.Errorf("insert operation %d: %w", ops[i].ID, err)
		}
	}
	return nil
}

func bindOp(a []driver.NamedValue, o *Op) {
	a[0].Value = o.ID
	a[1].Value = o.Workload
	a[2].Value = int64(o.Process)
	a[3].Value = o.Func
	a[4].Value = textOrNull(o.Key)
	a[5].Value = o.Value
	a[6].Value = int64(o.Sum)
	a[7].Value = int64(o.Partition)
	a[8].Value = o.Offset
	a[9].Value = o.Planned
	a[10].Value = o.Invoke
	a[11].Value = o.Complete
	a[12].Value = string(o.Outcome)
	a[13].Value = textOrNull(o.Error)
	a[14].Value = textOrNull(o.Data)
}

func textOrNull(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

func (w *writer) execAll(rows []row) error {
	for _, r := range rows {
		args := make([]driver.NamedValue, len(r.args))
		for i, v := range r.args {
			args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
		}
		if err := w.exec(r.query, args); err != nil {
			return fmt.Errorf("execute %q: %w", r.query, err)
		}
	}
	return nil
}

//nolint:contextcheck // once begun, a transaction is not cut short
func (w *writer) exec(query string, args []driver.NamedValue) error {
	st, ok := w.stmts[query]
	if !ok {
		prepared, err := w.conn.Prepare(query)
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		if st, ok = prepared.(driver.StmtExecContext); !ok {
			return errors.Join(fmt.Errorf("driver %T cannot execute", prepared), prepared.Close())
		}
		w.stmts[query] = st
	}
	_, err := st.ExecContext(lifetime{}, args)
	return err
}

// close folds the write-ahead log into the file, unless a reader is at work, and closes the connection.
func (w *writer) close() error {
	err := w.exec("PRAGMA wal_checkpoint(TRUNCATE)", nil)
	for _, st := range w.stmts {
		if c, ok := st.(driver.Stmt); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return errors.Join(err, w.conn.Close())
}
