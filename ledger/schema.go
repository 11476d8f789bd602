package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// schema makes the tables of format 2; format 1 had no column data. The views are for people with a sqlite3 shell: probe is the part of operation
// that probes made.
const schema = `
CREATE TABLE run (
	id   INTEGER PRIMARY KEY CHECK (id = 1),
	body TEXT NOT NULL
);
CREATE TABLE operation (
	id        INTEGER PRIMARY KEY,
	workload  TEXT NOT NULL,
	process   INTEGER NOT NULL,
	func      TEXT NOT NULL,
	key       TEXT,
	value     INTEGER NOT NULL,
	sum       INTEGER NOT NULL,
	partition INTEGER NOT NULL,
	offset    INTEGER NOT NULL,
	planned   INTEGER NOT NULL,
	invoke    INTEGER NOT NULL,
	complete  INTEGER NOT NULL,
	outcome   TEXT NOT NULL,
	error     TEXT,
	data      TEXT
);
CREATE VIEW probe AS SELECT * FROM operation WHERE func = 'probe';
CREATE TABLE fault (
	record    TEXT PRIMARY KEY,
	id        TEXT NOT NULL,
	kind      TEXT NOT NULL,
	target    TEXT NOT NULL,
	container TEXT NOT NULL,
	mechanism TEXT NOT NULL,
	planned   INTEGER NOT NULL,
	called    INTEGER NOT NULL,
	applied   INTEGER NOT NULL,
	confirmed INTEGER NOT NULL,
	released  INTEGER NOT NULL,
	gone      INTEGER NOT NULL,
	settled   INTEGER NOT NULL,
	error     TEXT NOT NULL
);
CREATE TABLE witness (
	n      INTEGER PRIMARY KEY,
	record TEXT NOT NULL,
	active INTEGER NOT NULL,
	what   TEXT NOT NULL,
	value  REAL NOT NULL,
	unit   TEXT NOT NULL,
	note   TEXT NOT NULL,
	at     INTEGER NOT NULL
);
CREATE TABLE event (
	n       INTEGER PRIMARY KEY,
	at      INTEGER NOT NULL,
	source  TEXT NOT NULL,
	type    TEXT NOT NULL,
	service TEXT NOT NULL,
	detail  TEXT NOT NULL
);
CREATE TABLE gate (
	n    INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL,
	name TEXT NOT NULL,
	held INTEGER NOT NULL,
	note TEXT NOT NULL
);
CREATE TABLE check_result (
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (kind, name)
);
CREATE TABLE violation (
	n    INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	body TEXT NOT NULL
);
`

// The statements of the writer. An upsert keeps the place of the first row, so that faults stay in the order in which
// they were first recorded.
const (
	insertRun     = `INSERT INTO run (id, body) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body`
	upsertFault   = `INSERT INTO fault VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (record) DO UPDATE SET id = excluded.id, kind = excluded.kind, target = excluded.target, container = excluded.container, mechanism = excluded.mechanism, planned = excluded.planned, called = excluded.called, applied = excluded.applied, confirmed = excluded.confirmed, released = excluded.released, gone = excluded.gone, settled = excluded.settled, error = excluded.error`
	insertWitness = `INSERT INTO witness (record, active, what, value, unit, note, at) VALUES (?,?,?,?,?,?,?)`
	insertEvent   = `INSERT INTO event (at, source, type, service, detail) VALUES (?,?,?,?,?)`
	insertGate    = `INSERT INTO gate (at, name, held, note) VALUES (?,?,?,?)`
	upsertResult  = `INSERT INTO check_result VALUES (?,?,?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body`
	insertBreach  = `INSERT INTO violation (name, body) VALUES (?,?)`
	clearResults  = `DELETE FROM check_result`
	clearBreaches = `DELETE FROM violation`
)

const opColumns = 15

// makeTables creates the tables in an empty database and stamps it with the format's version.
func makeTables(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to undo after the commit
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", FormatVersion)); err != nil {
		return fmt.Errorf("stamp version: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit tables: %w", err)
	}
	return nil
}

// checkVersion refuses a file of a newer format, and one that is no ledger.
func checkVersion(ctx context.Context, db *sql.DB) error {
	version, err := formatOf(ctx, db)
	switch {
	case err != nil:
		return err
	case version > FormatVersion:
		return &VersionError{What: "ledger", Version: version, Known: FormatVersion}
	case version < 1:
		return fmt.Errorf("it has no format version: it is no ledger, or the run ended before its tables were made")
	}
	return nil
}

func formatOf(ctx context.Context, db *sql.DB) (version int, err error) {
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, fmt.Errorf("read its version: %w", err)
	}
	return version, nil
}

// VersionError says that a file was written by a newer build.
type VersionError struct {
	What    string // "ledger", "run.json", "operation line"
	Version int    // of the file
	Known   int    // the newest that this build reads
}

// Error names both versions and what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format %d, this build reads up to %d: use the discompose that wrote it", e.What, e.Version, e.Known)
}
