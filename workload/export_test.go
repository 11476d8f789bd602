package workload

import (
	"context"
	"encoding/json"

	"github.com/discompose/discompose/ledger"
)

// ProduceOutcome opens the table of outcomes to tests.
var ProduceOutcome = produceOutcome

// EndOutcome opens the table of how transactions end to tests.
var EndOutcome = endOutcome

// EndOffsets opens the wait for the ends to tests.
var EndOffsets = endOffsets

// InSync opens the look at a cluster's topics to tests.
var InSync = inSync

// Outbox opens the outbox to tests.
type Outbox struct{ o *outbox }

func NewOutbox(send func(json.RawMessage)) Outbox { return Outbox{newOutbox(send)} }

func (o Outbox) Add(ops []ledger.Op)     { o.o.add(ops) }
func (o Outbox) Flush()                  { o.o.flush() }
func (o Outbox) Run(ctx context.Context) { o.o.run(ctx) }

// NewLoopAt makes a loop with a clock of the test's own.
func NewLoopAt(c Config, s System, o LoopOptions, now func() int64) Driver {
	return newLoop(c, s, o, now)
}

// Count is how many objects may be there, and their bytes; Known is how many keys are kept track of as there or in flight.
func (l *Live) Count() (keys, bytes int64) { return l.keys, l.bytes }
func (l *Live) Known() int                 { return len(l.objects) }
