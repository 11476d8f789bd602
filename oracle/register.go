package oracle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/ledger"
)

// Register is the checker of registers: one value per key, written, read, swapped where it matches, and deleted. Its
// promise is linearizability: for each key there is an order of its operations in which each takes effect in one instant
// between its call and its return, and finds what it found. What breaks the promise in a way that has a name of its own:
//
//   - An acknowledged write is not lost (data-loss), and what is read is not older than it (stale).
//   - A deleted value does not come back (resurrected).
//   - A value that is read was written, and not by a write that failed (phantom), and is readable (corruption).
//
// Operations: write, get, cas and delete. A cas that failed with a mismatch observed that the value was another one.
// Unknown ones may take effect at any time, or never; gets that are not ok say nothing. Final reads are gets.
//
// The search is exact. A key is convicted only where porcupine, which shares nothing with it, finds no order either.
type Register struct {
	Timeout units.Duration `toml:"timeout" json:"timeout,omitempty" default:"45s" doc:"how long to search in all; keys that are not decided by then are checker-unknown, and what was found until then holds. Less than the check's own timeout"`
	Memory  units.Size     `toml:"memory" json:"memory,omitempty" default:"512MiB" doc:"memory that the search for one key may take, roughly; a key that needs more is checker-unknown"`
}

// The promises of a register.
const (
	regKept    = "an acknowledged write is not lost"
	regFresh   = "a read is not older than what was acknowledged before it"
	regDeleted = "a deleted value does not come back"
	regSent    = "what is read was written"
	regRefused = "a write that failed has no effect"
	regWhole   = "a value comes back as it was written"
	regMatch   = "a compare-and-swap swaps where the value matches, and only there"
	regOrder   = "the operations on a key are linearizable"
)

const (
	regTimeout = 45 * time.Second
	regMemory  = 512 << 20
	regPerNode = 96 // bytes of a remembered configuration, with what the map needs
)

var errRegTime = errors.New("its time was over")

// Validate joins the problems of the options.
func (r Register) Validate() error {
	var errs []error
	if r.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is below 0", r.Timeout))
	}
	if r.Memory < 0 {
		errs = append(errs, fmt.Errorf("memory: %s is below 0", r.Memory))
	}
	return errors.Join(errs...)
}

// Check implements Checker. Counts: acknowledged, failed and unknown (writes, swaps and deletes by outcome), mismatches
// (swaps that observed another value), reads, keys, never_read (keys that were not read after their last acknowledged
// write), undecided (keys).
func (r Register) Check(ctx context.Context, h *ledger.History, workload string) Result {
	c := r.open(ctx, newDocket(ctx, "register", workload, h.Ops))
	c.scan()
	search, cancel := context.WithTimeoutCause(ctx, c.timeout, errRegTime)
	defer cancel()
	c.search = search
	var undecided, unread []string
	for i := range c.keys {
		k := &c.keys[i]
		if !k.readLast(c.ops) {
			unread = append(unread, k.name)
		}
		if c.stopped(i<<16) || !c.judge(k) {
			undecided = append(undecided, k.name)
		}
	}
	c.sum(undecided, unread)
	return c.result()
}

// registerCheck is one check.
type registerCheck struct {
	*docket

	timeout  time.Duration
	limit    int
	search   context.Context // ends with the option's time
	keys     []regKey
	index    map[string]int32
	interned map[regNamed]int32
}

// regNamed is a value of a key.
type regNamed struct {
	key   int32
	value int64
}

func (r Register) open(ctx context.Context, d *docket) *registerCheck {
	c := &registerCheck{docket: d, timeout: r.Timeout.Std(), search: ctx, index: map[string]int32{}}
	if c.timeout == 0 {
		c.timeout = regTimeout
	}
	memory := r.Memory.Bytes()
	if memory == 0 {
		memory = regMemory
	}
	c.limit = int(memory / regPerNode)
	return c
}

func (c *registerCheck) sum(undecided, unread []string) {
	for _, k := range []string{"acknowledged", "failed", "unknown", "mismatches", "reads"} {
		c.counts[k] += 0
	}
	c.counts["keys"], c.counts["undecided"], c.counts["never_read"] = int64(len(c.keys)), int64(len(undecided)), int64(len(unread))
	if len(undecided) > 0 {
		c.doubt("%s could not be decided within %s and the memory that it may take: %s", countKeys(len(undecided)), c.timeout, keyList(undecided))
	}
	switch {
	case c.counts["acknowledged"] == 0:
		c.thin("no write was acknowledged, so nothing is promised")
	case c.counts["reads"] == 0:
		c.thin("nothing was read")
	case len(unread) > 0:
		c.doubt("%s not read after the last acknowledged write, which is unproven: %s", was(len(unread)), keyList(unread))
	}
}

func countKeys(n int) string {
	if n == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", n)
}

func was(n int) string {
	if n == 1 {
		return "1 key was"
	}
	return countKeys(n) + " were"
}

// keyList names keys, at most a few.
func keyList(keys []string) string {
	const most = 5
	text := fmt.Sprintf("%q", keys[:min(len(keys), most)])
	text = strings.ReplaceAll(strings.Trim(text, "[]"), `" "`, `", "`)
	if len(keys) > most {
		text += fmt.Sprintf(" and %d more", len(keys)-most)
	}
	return text
}
