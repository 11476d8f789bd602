package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// register is one row per key.
type register struct {
	name  string
	mix   []workload.Weight
	keys  workload.Keys
	count int
}

func (m register) table() (name, create string) {
	return m.name, "CREATE TABLE IF NOT EXISTS " + m.name + " (key text PRIMARY KEY, value bigint NOT NULL)"
}

func (register) fill(context.Context, pgx.Tx) error { return nil }

func (m register) next(r *rand.Rand, t workload.Turn) ledger.Op {
	return workload.NextRegister(r, t, m.mix, m.keys)
}

func (m register) do(ctx context.Context, conn *pgx.Conn, seen workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	var err error
	value := op.Value
	switch op.Func {
	case ledger.FuncGet:
		value, err = m.get(ctx, conn, op.Key)
		op.Value = value
		if err != nil {
			return failed(err)
		}
	case ledger.FuncCAS:
		return m.swap(ctx, conn, seen, op)
	case ledger.FuncDelete:
		_, err = conn.Exec(ctx, "DELETE FROM "+m.name+" WHERE key = $1", op.Key)
	default:
		_, err = conn.Exec(ctx, "INSERT INTO "+m.name+" VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", op.Key, op.Value)
	}
	outcome, err := committed(err)
	seen.Note(op.Key, value, outcome)
	return outcome, err
}

// get is the value of a key; 0 where it is absent, -1 where it is no value of ours.
func (m register) get(ctx context.Context, conn *pgx.Conn, key string) (value int64, err error) {
	err = conn.QueryRow(ctx, "SELECT value FROM "+m.name+" WHERE key = $1", key).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err == nil && value <= 0 {
		value = -1
	}
	return value, err
}

// swap sets a row if it has the value that the process saw last.
func (m register) swap(ctx context.Context, conn *pgx.Conn, seen workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	statement, args := "UPDATE "+m.name+" SET value = $2 WHERE key = $1 AND value = $3", []any{op.Key, op.Value, seen[op.Key]}
	if seen[op.Key] == 0 {
		statement, args = "INSERT INTO "+m.name+" VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", args[:2]
	}
	tag, err := conn.Exec(ctx, statement, args...)
	mismatch := err == nil && tag.RowsAffected() == 0
	op.Data = seen.Swap(op.Key, mismatch)
	if mismatch {
		return ledger.Failed, workload.ErrDeclined
	}
	outcome, err := committed(err)
	seen.Note(op.Key, op.Value, outcome)
	return outcome, err
}

func (m register) final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error) {
	var ops []ledger.Op
	for i := range m.count {
		op := ledger.Op{Func: ledger.FuncGet, Key: strconv.Itoa(i), Partition: -1, Offset: -1, Invoke: workload.Now()}
		var err error
		if op.Value, err = m.get(ctx, conn, op.Key); err != nil {
			return nil, fmt.Errorf("read key %d: %w", i, err)
		}
		op.Complete = workload.Now()
		ops = append(ops, op)
	}
	return append(ops, ledger.Op{Func: ledger.FuncEnd, Partition: -1, Offset: int64(m.count)}), nil
}

// set is one row per element. Nothing keeps an element from being there twice, so that it would be seen.
type set struct {
	name string
	mix  []workload.Weight
}

func (m set) table() (name, create string) {
	return m.name, "CREATE TABLE IF NOT EXISTS " + m.name + " (value bigint NOT NULL)"
}

func (set) fill(context.Context, pgx.Tx) error { return nil }

func (m set) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.mix)}
	if op.Func == ledger.FuncAdd {
		op.Value = t.Fresh
	}
	return op
}

func (m set) do(ctx context.Context, conn *pgx.Conn, _ workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncList {
		values, err := m.all(ctx, conn)
		if err != nil {
			return failed(err)
		}
		op.Data = string(ledger.AppendValues(nil, values))
		return ledger.OK, nil
	}
	_, err := conn.Exec(ctx, "INSERT INTO "+m.name+" VALUES ($1)", op.Value)
	return committed(err)
}

func (m set) all(ctx context.Context, conn *pgx.Conn) ([]int64, error) {
	rows, err := conn.Query(ctx, "SELECT value FROM "+m.name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func (m set) final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error) {
	values, err := m.all(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", m.name, err)
	}
	found := make([]string, len(values))
	for i, v := range values {
		found[i] = strconv.FormatInt(v, 10)
	}
	return workload.Elements(found), nil
}

// counter is one row.
type counter struct {
	name string
	mix  []workload.Weight
}

// mostInc is the most that one increment adds.
const mostInc = 5

func (m counter) table() (name, create string) {
	return m.name, "CREATE TABLE IF NOT EXISTS " + m.name + " (value bigint NOT NULL)"
}

func (m counter) fill(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "INSERT INTO "+m.name+" VALUES (0)")
	return err
}

func (m counter) next(r *rand.Rand, _ workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.mix)}
	if op.Func == ledger.FuncInc {
		op.Value = 1 + r.Int64N(mostInc)
	}
	return op
}

func (m counter) do(ctx context.Context, conn *pgx.Conn, _ workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncGet {
		if err := m.get(ctx, conn, op); err != nil {
			return failed(err)
		}
		return ledger.OK, nil
	}
	_, err := conn.Exec(ctx, "UPDATE "+m.name+" SET value = value + $1", op.Value)
	return committed(err)
}

// get reads the count; a row that is gone counts 0.
func (m counter) get(ctx context.Context, conn *pgx.Conn, op *ledger.Op) error {
	return conn.QueryRow(ctx, "SELECT coalesce(sum(value), 0)::bigint FROM "+m.name).Scan(&op.Value)
}

func (m counter) final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error) {
	op := ledger.Op{Func: ledger.FuncGet, Partition: -1, Offset: -1}
	if err := m.get(ctx, conn, &op); err != nil {
		return nil, fmt.Errorf("read table %s: %w", m.name, err)
	}
	return []ledger.Op{op, {Func: ledger.FuncEnd, Partition: -1, Offset: 1}}, nil
}
