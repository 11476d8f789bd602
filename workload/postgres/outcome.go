package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// codeLength is the length of an SQLSTATE.
const codeLength = 5

// committed is what the error of a COMMIT, or of a statement that is a transaction of its own, proves.
func committed(err error) (ledger.Outcome, error) {
	switch {
	case err == nil:
		return ledger.OK, nil
	case inTheWay(err):
		return ledger.Failed, workload.ErrDeclined
	case errors.Is(err, pgx.ErrTxCommitRollback), unsent(err), rolledBack(err):
		return ledger.Failed, err
	}
	return ledger.Unknown, err
}

// unsent reports whether nothing was written to the connection. That the connection is closed does not say so: of one that
// breaks before the answer, pgx 5.12 drops the read's error, closes the connection, and then finds it closed
// (MultiResultReader.NextResult).
func unsent(err error) bool {
	return pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed)
}

// failed is the outcome of a transaction whose COMMIT was never sent, and of what only reads.
func failed(err error) (ledger.Outcome, error) {
	if inTheWay(err) {
		err = workload.ErrDeclined
	}
	return ledger.Failed, err
}

// inTheWay reports whether the server rolled a transaction back because of a concurrent one.
func inTheWay(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "40001" || answer.Code == "40P01")
}

// rolledBack reports whether the server answered that the transaction was rolled back.
func rolledBack(err error) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || len(answer.Code) != codeLength || answer.Code == "40003" {
		return false
	}
	severity := answer.SeverityUnlocalized
	if severity == "" {
		severity = answer.Severity // of servers, and proxies, that send no other
	}
	switch answer.Code[:2] {
	case "08", "58", "XX":
		return false
	}
	return severity == "ERROR"
}

// transact runs statements and commits; an error of statements rolls back.
func transact(ctx context.Context, conn *pgx.Conn, statements func(tx pgx.Tx) error) (ledger.Outcome, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return failed(err)
	}
	if err := statements(tx); err != nil {
		if tx.Rollback(ctx) != nil {
			hangUp(ctx, conn) // nobody may go on in a transaction that is half done
		}
		return failed(err)
	}
	return committed(tx.Commit(ctx))
}
