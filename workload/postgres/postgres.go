// Package postgres provides the driver of PostgreSQL: registers, a set, a bank, lists that transactions append to, and a
// counter, for the checks of these names.
//
// What an error means:
//
//	error                                            outcome   why
//	none                                             ok        the commit's answer came
//	a compare that did not match, a balance that     fail,     the statement changed no row, or the transaction was
//	  did not suffice                                declined  rolled back by the driver
//	40001 serialization failure, 40P01 deadlock      fail,     rolled back; the server's regular answer to transactions
//	                                                 declined  that are in each other's way
//	no connection: refused, timed out, 57P03 (is     fail      nothing was sent
//	  starting up), 53300 (too many), 28 (password)
//	any error before COMMIT was sent, also a broken  fail      without a COMMIT the server rolls back
//	  connection, where a transaction has several
//	  statements
//	nothing was written to the connection            fail      pgconn says so (SafeToRetry), but for "conn closed", which it also
//	                                                           says of a connection that breaks before the answer: unknown
//	an answer of severity ERROR to a statement of    fail      the transaction was rolled back: 23 (constraint), 25006
//	  its own or to COMMIT                                     (read-only), 53 (resources), 57014 (cancelled) and others
//	of these 40003, and classes 08, 58 and XX        unknown   completion unknown; what a proxy says of a lost server;
//	                                                           the server itself does not trust its state
//	an answer of severity FATAL (57P01: shut down    unknown   it may come after the commit and before its answer
//	  by an administrator)
//	a deadline, a connection that broke in the       unknown   it may be committed, now or later
//	  middle of a statement of its own or of COMMIT
//	any error of what only reads                     fail      it changes nothing
//
// The client library repeats nothing. The package imports only workload and ledger of this module; its types are safe for
// concurrent use.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// Spec describes the driver.
func Spec() workload.Spec {
	return workload.LoopSpec("postgres", func(c *workload.Config, o Options) (workload.System, error) {
		o = o.WithDefaults()
		config, err := o.config(c.Target)
		if err != nil {
			return nil, err
		}
		if c.MaxInFlight == 0 {
			clients := max(c.Processes, c.Clients, 1)
			c.MaxInFlight = (o.Connections + clients - 1) / clients
		}
		return system{config: config, model: o.model()}, nil
	})
}

// dialTime is how long a client waits for a connection.
const dialTime = 2 * time.Second

// model is what the operations are about.
type model interface {
	// table is the table's name, and the statement that makes it.
	table() (name, create string)
	// fill puts in what is there before the first operation.
	fill(ctx context.Context, tx pgx.Tx) error
	next(r *rand.Rand, t workload.Turn) ledger.Op
	// do carries an operation out on a connection; seen belongs to the process.
	do(ctx context.Context, conn *pgx.Conn, seen workload.Seen, op *ledger.Op) (ledger.Outcome, error)
	final(ctx context.Context, conn *pgx.Conn) ([]ledger.Op, error)
}

// model is the model that o, with its defaults, names.
func (o Options) model() model {
	switch o.Model {
	case modelSet:
		return set{name: o.Prefix + "set", mix: o.mix()}
	case modelBank:
		return bank{name: o.Prefix + "accounts", mix: o.mix(), accounts: o.Accounts, balance: o.Balance, known: new(atomic.Bool)}
	case modelAppend:
		return &lists{name: o.Prefix + "lists", mix: o.mix(), keys: o.Keys.Keys(), live: o.Keys.WithDefaults().Count, steps: o.Steps, turnover: int64(o.Turnover)}
	case modelCounter:
		return counter{name: o.Prefix + "counter", mix: o.mix()}
	}
	return register{name: o.Prefix + "kv", mix: o.mix(), keys: o.Keys.Keys(), count: o.Keys.WithDefaults().Count}
}

type system struct {
	config *pgx.ConnConfig
	model
}

func (s system) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return pgx.ConnectConfig(ctx, s.config.Copy())
}

// Setup makes the model's table, empty but for what the model begins with.
func (s system) Setup(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return permanent(err)
	}
	defer hangUp(ctx, conn)
	name, create := s.table()
	if _, err := conn.Exec(ctx, create); err != nil {
		return permanent(fmt.Errorf("make table %s: %w", name, err))
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var rows int64
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+name).Scan(&rows); err != nil {
			return err
		}
		if rows > 0 {
			return fmt.Errorf("%d rows are in table %s: %w: %w", rows, name, workload.ErrNotEmpty, workload.ErrPermanent)
		}
		return s.fill(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("prepare table %s: %w", name, err)
	}
	return nil
}

// permanent marks errors of a server that is up and says what is wrong with the options: the password, the database, rights.
func permanent(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && len(answer.Code) == codeLength {
		switch answer.Code[:2] {
		case "28", "3D", "42":
			return fmt.Errorf("%w: %w", err, workload.ErrPermanent)
		}
	}
	return err
}

// Next implements workload.System.
func (s system) Next(r *rand.Rand, t workload.Turn) ledger.Op { return s.next(r, t) }

// Inherit implements workload.Heir: the sessions of first see the snapshot that the bank of a phase waits for.
func (s system) Inherit(first workload.System) workload.System {
	own, ok := s.model.(bank)
	of, same := first.(system)
	if !ok || !same {
		return s
	}
	if b, ok := of.model.(bank); ok {
		own.known = b.known
	}
	s.model = own
	return s
}

// Connect implements workload.System.
func (s system) Connect(ctx context.Context, _ int) (workload.Session, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &session{model: s.model, conn: conn, seen: workload.Seen{}, life: context.WithoutCancel(ctx)}, nil
}

// Final implements workload.System.
func (s system) Final(ctx context.Context) ([]ledger.Op, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp(ctx, conn)
	return s.final(ctx, conn)
}

// session is the client of one process.
type session struct {
	model
	conn *pgx.Conn
	seen workload.Seen
	life context.Context // of its good-bye
}

// Do implements workload.Session.
func (s *session) Do(ctx context.Context, op *ledger.Op) (ledger.Outcome, error) {
	return s.do(ctx, s.conn, s.seen, op)
}

// Close implements workload.Session.
func (s *session) Close() { hangUp(s.life, s.conn) }

// Alive implements workload.Alive.
func (s *session) Alive() bool { return !s.conn.IsClosed() }

// hangUp says good-bye to the server, if that can be done at once; the connection is gone either way.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
