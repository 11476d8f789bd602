package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// bank is one row per account. A transfer reads both balances and writes what it has worked out, as applications do that
// leave it to the isolation level to keep them apart: below repeatable read, money gets lost.
type bank struct {
	name     string
	mix      []workload.Weight
	accounts int
	balance  int64
	known    *atomic.Bool // a snapshot has returned
}

// mostAmount is the most that one transfer moves.
const mostAmount = 5

func (m bank) table() (name, create string) {
	return m.name, "CREATE TABLE IF NOT EXISTS " + m.name + " (id int PRIMARY KEY, balance bigint NOT NULL)"
}

func (m bank) fill(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "INSERT INTO "+m.name+" SELECT i, $2 FROM generate_series(0, $1::int - 1) i", m.accounts, m.balance)
	return err
}

// next asks for snapshots until one has returned, so that the sum is known before the first transfer. What is drawn does not
// depend on it.
func (m bank) next(r *rand.Rand, t workload.Turn) ledger.Op {
	op := ledger.Op{Func: workload.PickWeighted(r, m.mix)}
	if op.Func == ledger.FuncTransfer {
		from := r.IntN(m.accounts)
		to := (from + 1 + r.IntN(m.accounts-1)) % m.accounts
		op.Data = ledger.EncodeData(ledger.Transfer{From: strconv.Itoa(from), To: strconv.Itoa(to), Amount: 1 + r.Int64N(mostAmount)})
	}
	if t.K == 0 || !m.known.Load() {
		return ledger.Op{Func: ledger.FuncBalances}
	}
	return op
}

func (m bank) do(ctx context.Context, conn *pgx.Conn, _ workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	if op.Func == ledger.FuncBalances {
		if err := m.balances(ctx, conn, op); err != nil {
			return failed(err)
		}
		m.known.Store(true)
		return ledger.OK, nil
	}
	var t ledger.Transfer
	if err := ledger.DecodeData(op, &t); err != nil {
		return ledger.Failed, err
	}
	from, errFrom := strconv.Atoi(t.From)
	to, errTo := strconv.Atoi(t.To)
	if err := errors.Join(errFrom, errTo); err != nil {
		return ledger.Failed, err
	}
	return transact(ctx, conn, func(tx pgx.Tx) error { return m.transfer(ctx, tx, from, to, t.Amount) })
}

func (m bank) transfer(ctx context.Context, tx pgx.Tx, from, to int, amount int64) error {
	have := map[int]int64{}
	for _, id := range []int{from, to} {
		var balance int64
		if err := tx.QueryRow(ctx, "SELECT balance FROM "+m.name+" WHERE id = $1", id).Scan(&balance); err != nil {
			return err
		}
		have[id] = balance
	}
	if have[from] < amount {
		return workload.ErrDeclined
	}
	have[from] -= amount
	have[to] += amount
	for _, id := range []int{min(from, to), max(from, to)} { // always in this order, so that there are few deadlocks
		if _, err := tx.Exec(ctx, "UPDATE "+m.name+" SET balance = $2 WHERE id = $1", id, have[id]); err != nil {
			return err
		}
	}
	return nil
}

// balances reads all accounts in one statement, which is one snapshot at every isolation level.
func (m bank) balances(ctx context.Context, conn *pgx.Conn, op *ledger.Op) error {
	rows, err := conn.Query(ctx, "SELECT id, balance FROM "+m.name)
	if err != nil {
		return err
	}
	found := map[string]int64{}
	var id int
	var balance int64
	_, err = pgx.ForEachRow(rows, []any{&id, &balance}, func() error {
		found[strconv.Itoa(id)] = balance
		return nil
	})
	op.Data = ledger.EncodeData(found)
	return err
}

func (m bank) final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error) {
	op := ledger.Op{Func: ledger.FuncBalances, Partition: -1, Offset: -1}
	if err := m.balances(ctx, conn, &op); err != nil {
		return nil, fmt.Errorf("read table %s: %w", m.name, err)
	}
	return []ledger.Op{op, {Func: ledger.FuncEnd, Partition: -1, Offset: 1}}, nil
}

// lists is one row per list. Keys are in use for a time only: transaction k works on those of generation k / turnover.
type lists struct {
	name     string
	mix      []workload.Weight
	keys     workload.Keys
	live     int
	steps    int
	turnover int64
	last     atomic.Int64 // the last generation that was begun
}

// stepBits is how many bits of an appended value tell its step.
const stepBits = 3

func (m *lists) table() (name, create string) {
	return m.name, "CREATE TABLE IF NOT EXISTS " + m.name + " (key int PRIMARY KEY, value bigint[] NOT NULL)"
}

func (*lists) fill(context.Context, pgx.Tx) error { return nil }

func (m *lists) next(r *rand.Rand, t workload.Turn) ledger.Op {
	generation := t.K / m.turnover
	steps := make([]ledger.Mop, 1+r.IntN(m.steps))
	for i := range steps {
		step := ledger.Mop{
			Append: workload.PickWeighted(r, m.mix) == "append",
			Key:    strconv.FormatInt(generation*int64(m.live)+int64(m.keys.Pick(r, t.K)), 10),
		}
		if step.Append {
			step.Value = t.Fresh<<stepBits | int64(i)
		}
		steps[i] = step
	}
	return ledger.Op{Func: ledger.FuncTxn, Data: ledger.EncodeData(steps)}
}

func (m *lists) do(ctx context.Context, conn *pgx.Conn, _ workload.Seen, op *ledger.Op) (ledger.Outcome, error) {
	var steps []ledger.Mop
	if err := ledger.DecodeData(op, &steps); err != nil {
		return ledger.Failed, err
	}
	outcome, err := transact(ctx, conn, func(tx pgx.Tx) error { return m.run(ctx, tx, steps) })
	if outcome == ledger.OK {
		op.Data = ledger.EncodeData(steps)
	}
	return outcome, err
}

// run carries the steps out and puts into them what they read.
func (m *lists) run(ctx context.Context, tx pgx.Tx, steps []ledger.Mop) error {
	for i := range steps {
		s := &steps[i]
		key, err := strconv.ParseInt(s.Key, 10, 32)
		if err != nil {
			return err
		}
		workload.Raise(&m.last, key/int64(m.live))
		if s.Append {
			_, err = tx.Exec(ctx, "INSERT INTO "+m.name+" AS l VALUES ($1, ARRAY[$2::bigint]) ON CONFLICT (key) DO UPDATE SET value = l.value || excluded.value", key, s.Value)
		} else {
			s.Values = []int64{}
			err = tx.QueryRow(ctx, "SELECT value FROM "+m.name+" WHERE key = $1", key).Scan(&s.Values)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// final reads every key that there may be, in one transaction of one statement.
func (m *lists) final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error) {
	rows, err := conn.Query(ctx, "SELECT key, value FROM "+m.name)
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", m.name, err)
	}
	found := map[int64][]int64{}
	most := (m.last.Load() + 1) * int64(m.live)
	var key int64
	var values []int64
	_, err = pgx.ForEachRow(rows, []any{&key, &values}, func() error {
		found[key], values = values, nil
		most = max(most, key+1)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", m.name, err)
	}
	steps := make([]ledger.Mop, most)
	for k := range most {
		steps[k] = ledger.Mop{Key: strconv.FormatInt(k, 10), Values: append([]int64{}, found[k]...)}
	}
	op := ledger.Op{Func: ledger.FuncTxn, Data: ledger.EncodeData(steps), Partition: -1, Offset: -1}
	return []ledger.Op{op, {Func: ledger.FuncEnd, Partition: -1, Offset: most}}, nil
}
