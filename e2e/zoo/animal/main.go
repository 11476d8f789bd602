// Command animal is the services of the zoo: small, honest HTTP services, each with one bug that can be planted in it.
//
//	animal ROLE --bug NAME --data DIR --to URL
//	animal ping URL
//
// Without a bug (or with --bug none) a service is the twin: it keeps its promise under the faults of its scenario. What a bug
// is stands beside the code that has it: look for the constants below.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The bugs, each of one role.
const (
	bugBuffered = "buffered" // orders: an order is in a buffer when it is acknowledged
	bugEarly    = "early"    // orders: an order is acknowledged before anybody begins to write it
	bugZombie   = "zombie"   // kv: a delete is not in the journal
	bugStale    = "stale"    // follower: answers from its own copy when the leader does not
	bugRetry    = "retry"    // retrier: sends an order again without saying that it is the same
	bugShuffle  = "shuffle"  // segments: reads its segments in the order of their names
	bugOmit     = "omit"     // blobs: lists what its index has, which is written now and then
	bugTorn     = "torn"     // blobs: writes over the old body
	bugStuck    = "stuck"    // pool: a slot is not given back when a call fails
	bugLeak     = "leak"     // dialler: a connection is not closed when a call fails
	bugRace     = "race"     // bank: reads balances, and writes them back unconditionally
	bugPanic    = "panic"    // session: uses the session that it has just lost
	bugStubborn = "stubborn" // breaker: stays open for long
	noBug       = "none"
)

// config is what the command line says.
type config struct {
	bug    string
	data   string // folder that outlives the process
	to     string // URL of the service behind this one
	listen string

	patience time.Duration // how long to wait for the service behind this one; 0: the role's own
}

// role makes the service of a name, and starts what it does besides answering.
type role struct {
	bugs []string
	make func(ctx context.Context, c config) (http.Handler, error)
}

func roles() map[string]role {
	return map[string]role{
		"orders":   {[]string{bugBuffered, bugEarly}, newOrders},
		"kv":       {[]string{bugZombie}, newKV},
		"leader":   {nil, newLeader},
		"follower": {[]string{bugStale}, newFollower},
		"segments": {[]string{bugShuffle}, newSegments},
		"blobs":    {[]string{bugOmit, bugTorn}, newBlobs},
		"cells":    {nil, newCells},
		"bank":     {[]string{bugRace}, newBank},
		"retrier":  {[]string{bugRetry}, newRetrier},
		"pool":     {[]string{bugStuck}, newPool},
		"dialler":  {[]string{bugLeak}, newDialler},
		"session":  {[]string{bugPanic}, newSession},
		"breaker":  {[]string{bugStubborn}, newBreaker},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("give a role, or ping and a URL")
	}
	if args[0] == "ping" {
		return ping(ctx, strings.Join(args[1:], ""))
	}
	r, ok := roles()[args[0]]
	if !ok {
		return fmt.Errorf("there is no role %q", args[0])
	}
	var c config
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&c.bug, "bug", noBug, "the bug to plant")
	flags.StringVar(&c.data, "data", "/data", "folder that outlives the process")
	flags.StringVar(&c.to, "to", "", "URL of the service behind this one")
	flags.DurationVar(&c.patience, "patience", 0, "how long to wait for the service behind this one")
	flags.StringVar(&c.listen, "listen", ":8080", "address")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("read arguments: %w", err)
	}
	if c.bug == "" {
		c.bug = noBug
	}
	if c.bug != noBug && !slices.Contains(r.bugs, c.bug) {
		log.Printf("%s has no bug %q: it is its twin", args[0], c.bug)
	}
	h, err := r.make(ctx, c)
	if err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	return serve(ctx, c.listen, h)
}

// serve answers until ctx ends.
func serve(ctx context.Context, addr string, h http.Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/", h)
	s := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // nobody waits for a service that is told to end
	defer stop()
	log.Printf("listening on %s", addr)
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// ping is the health check of an image that has nothing but this program in it.
func ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: status %d", resp.StatusCode)
	}
	return nil
}

// pause waits, or reports false where ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
