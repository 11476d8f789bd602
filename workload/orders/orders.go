// Package orders provides the application of the shipped environment web: an HTTP API that keeps orders in PostgreSQL. It is
// what scenarios of a web stack disturb, so it is written as such a service should be, with time-outs everywhere, and its
// documentation says what each answer promises.
//
//	POST /orders {"id": 7}   201  the order is committed
//	                         409  there is an order 7 already: an id is written once, and a repetition never twice
//	                         400  the body is no order; nothing was written
//	                         503  no connection to the database could be had in time; nothing was written
//	                         500  the database failed or took too long in the middle: the order may be there, or come to be there
//	GET /orders              200  all ids, as a JSON array, ascending; 500 or 503 where they could not be read
//	GET /healthz             200  the process serves; the database is not asked, for restarting an application because its
//	                              database is away makes things worse
//
// Two faults can be planted (Options.Acknowledge and Options.Drop), so that tests see a checker convict them. Everything is
// safe for concurrent use. The package imports nothing of this module.
package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options is what an application is told. Database is required, Pool at least 1, the times above 0.
type Options struct {
	Listen      string        // address to serve on
	Database    string        // a PostgreSQL URL
	Pool        int           // most connections to the database
	Lifetime    time.Duration // after which a connection is replaced by a new one
	Wait        time.Duration // longest wait for a connection
	Timeout     time.Duration // longest time of one statement, on top of it
	Acknowledge string        // AtCommit, or the planted fault AtReceipt
	Drop        int           // the planted fault: acknowledge, and do not write, one order of so many; 0: none
	Log         io.Writer     // what goes wrong, a line each; nil: nothing
}

// When an order is acknowledged.
const (
	AtCommit  = "commit"  // as the package promises
	AtReceipt = "receipt" // planted: at once; orders are written together after writeBehind, and lost with the process
)

// writeBehind is how long orders wait that are acknowledged at receipt.
const writeBehind = 500 * time.Millisecond

// connectTimeout bounds making a connection to the database.
const connectTimeout = time.Second

// Validate joins every problem of o.
func (o Options) Validate() error {
	var errs []error
	if o.Database == "" {
		errs = append(errs, errors.New("--database: name a database (postgres://user:password@host/name)"))
	}
	if o.Pool < 1 || o.Pool > 10_000 {
		errs = append(errs, fmt.Errorf("--pool: %d is not between 1 and 10000", o.Pool))
	}
	if o.Lifetime <= 0 || o.Wait <= 0 || o.Timeout <= 0 {
		errs = append(errs, errors.New("--lifetime, --wait, --timeout: must be longer than 0s"))
	}
	if o.Acknowledge != AtCommit && o.Acknowledge != AtReceipt {
		errs = append(errs, fmt.Errorf("--acknowledge: %q is neither %q nor %q", o.Acknowledge, AtCommit, AtReceipt))
	}
	if o.Drop < 0 {
		errs = append(errs, fmt.Errorf("--drop: %d is negative", o.Drop))
	}
	return errors.Join(errs...)
}

// app is one application.
type app struct {
	o     Options
	pool  *pgxpool.Pool
	count atomic.Int64 // orders that were acknowledged, for Drop

	mu     sync.Mutex
	behind []int64 // acknowledged at receipt and not written
}

// Serve serves until ctx ends; then it answers what it has begun, for at most Wait + Timeout. It waits for the database,
// and makes its table, before it listens.
func Serve(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	config, err := pgxpool.ParseConfig(o.Database)
	if err != nil {
		return fmt.Errorf("--database: %w", err)
	}
	config.MaxConns = int32(o.Pool) //nolint:gosec // validated
	config.MaxConnLifetime = o.Lifetime
	config.MaxConnLifetimeJitter = o.Lifetime / 4
	config.HealthCheckPeriod = min(o.Lifetime, time.Minute)
	config.ConnConfig.ConnectTimeout = connectTimeout
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("make pool: %w", err)
	}
	defer pool.Close()
	a := &app{o: o, pool: pool}
	if err := a.migrate(ctx); err != nil {
		return err
	}
	if o.Acknowledge == AtReceipt {
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() { a.writeBehind(ctx) })
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serveHTTP(ctx, listener, a.handler(), o.Wait+o.Timeout)
}

// serveHTTP serves until ctx ends, then waits for what is under way, at most for grace.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}

// migrate makes the table, and tries again until it can or ctx ends.
func (a *app) migrate(ctx context.Context) error {
	for {
		err := a.within(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, placed timestamptz NOT NULL DEFAULT now())")
			return err
		})
		if err == nil {
			return nil
		}
		a.say("make table orders", err)
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("make table orders: %w", errors.Join(context.Cause(ctx), err))
		case <-t.C:
		}
	}
}

// errNoConnection says that nothing was asked of the database.
var errNoConnection = errors.New("no connection to the database")

// within runs f with a connection, within the time of one statement from when it has one.
func (a *app) within(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	waiting, cancel := context.WithTimeout(ctx, a.o.Wait)
	c, err := a.pool.Acquire(waiting)
	cancel()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	defer c.Release()
	ctx, cancel = context.WithTimeout(ctx, a.o.Timeout)
	defer cancel()
	err = f(ctx, c)
	if err != nil && pgconn.SafeToRetry(err) { // an idle connection had ended: nothing was sent over it
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	return err
}

func (a *app) say(what string, err error) {
	_, _ = fmt.Fprintf(a.o.Log, "%s: %s\n", what, brief(err))
}

// brief is the cause of a database's error in a line, without addresses and names, so that equal causes read equal.
func brief(err error) string {
	prefix := ""
	if errors.Is(err, errNoConnection) {
		prefix = errNoConnection.Error() + ": "
	}
	var refused *pgconn.PgError
	var number syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &refused):
		return prefix + refused.Message + " (SQLSTATE " + refused.Code + ")"
	case errors.As(err, &number):
		return prefix + number.Error()
	case errors.As(err, &dns):
		return prefix + "its name has no address"
	case errors.Is(err, context.DeadlineExceeded):
		return prefix + "it takes too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return prefix + "the connection was closed"
	}
	return prefix + strings.ReplaceAll(strings.TrimPrefix(err.Error(), prefix), "\n", " ")
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", a.place)
	mux.HandleFunc("GET /orders", a.list)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	return mux
}

// reply answers with a line of text.
func reply(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a client that is gone hears nothing
}

// place writes one order. A client that goes away in the middle changes nothing: the statement goes on.
func (a *app) place(w http.ResponseWriter, r *http.Request) {
	var order struct {
		ID *int64 `json:"id"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&order); err != nil || order.ID == nil {
		reply(w, http.StatusBadRequest, `the body is no order: write {"id": 7}`)
		return
	}
	switch {
	case a.o.Drop > 0 && a.count.Add(1)%int64(a.o.Drop) == 0:
		reply(w, http.StatusCreated, "placed")
		return
	case a.o.Acknowledge == AtReceipt:
		a.mu.Lock()
		a.behind = append(a.behind, *order.ID)
		a.mu.Unlock()
		reply(w, http.StatusCreated, "placed")
		return
	}
	err := a.within(context.WithoutCancel(r.Context()), func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", *order.ID)
		return err
	})
	var refused *pgconn.PgError
	switch {
	case err == nil:
		reply(w, http.StatusCreated, "placed")
	case errors.As(err, &refused) && refused.Code == "23505": // unique_violation
		reply(w, http.StatusConflict, "there is such an order")
	default:
		a.fail(w, "place order", err)
	}
}

// fail answers for the database.
func (a *app) fail(w http.ResponseWriter, what string, err error) {
	a.say(what, err)
	status := http.StatusInternalServerError
	if errors.Is(err, errNoConnection) {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, what+": "+brief(err))
}

// list answers with all ids.
func (a *app) list(w http.ResponseWriter, r *http.Request) {
	ids := []int64{}
	err := a.within(r.Context(), func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, "SELECT id FROM orders ORDER BY id")
		if err != nil {
			return err
		}
		ids, err = pgx.AppendRows(ids, rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		a.fail(w, "list orders", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ids) // a client that is gone hears nothing
}

// writeBehind writes what was acknowledged at receipt.
func (a *app) writeBehind(ctx context.Context) {
	tick := time.NewTicker(writeBehind)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		a.mu.Lock()
		ids := a.behind
		a.behind = nil
		a.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		err := a.within(context.WithoutCancel(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, "INSERT INTO orders (id) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING", ids)
			return err
		})
		if err != nil {
			a.say("write orders", err)
			a.mu.Lock()
			a.behind = append(ids, a.behind...)
			a.mu.Unlock()
		}
	}
}
