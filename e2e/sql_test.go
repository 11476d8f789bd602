//go:build e2e

package e2e

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// deleteOp removes one operation from a stored ledger.
func deleteOp(t *testing.T, dir string, id int64) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(t.Context(), "DELETE FROM operation WHERE id = ?", id)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("deleted %d rows: %v", n, err)
	}
}
