package workload

import (
	"context"
	"encoding/json"

	"github.com/discompose/discompose/ledger"
)

// ProduceOutcome opens the table of outcomes to tests.
var ProduceOutcome = produceOutcome

// EndOffsets opens the wait for the ends to tests.
var EndOffsets = endOffsets

// Outbox opens the outbox to tests.
type Outbox struct{ o *outbox }

func NewOutbox(send func(json.RawMessage)) Outbox { return Outbox{newOutbox(send)} }

func (o Outbox) Add(ops []ledger.Op)     { o.o.add(ops) }
func (o Outbox) Flush()                  { o.o.flush() }
func (o Outbox) Run(ctx context.Context) { o.o.run(ctx) }
