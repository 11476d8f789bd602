package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// instant is a system that answers at once, so that what is measured is all that discompose does for an operation.
type instant struct{}

func (instant) Setup(context.Context) error                            { return nil }
func (instant) Connect(context.Context, int) (workload.Session, error) { return instant{}, nil }
func (instant) Do(context.Context, *ledger.Op) (ledger.Outcome, error) { return ledger.OK, nil }
func (instant) Close()                                                 {}
func (instant) Final(context.Context) ([]ledger.Op, error)             { return nil, nil }

func (instant) Next(_ *rand.Rand, t workload.Turn) ledger.Op {
	return ledger.Op{Func: ledger.FuncAdd, Value: t.Fresh}
}

// noOptions is the options of a driver that has none.
type noOptions struct{}

func (noOptions) Validate() error { return nil }

// calls measures operations from a client's call: schedule, process, time-out, outcome and outbox are in it.
func (b *bench) calls(ctx context.Context, s *section) error {
	spec := workload.LoopSpec("instant", func(*workload.Config, noOptions) (workload.System, error) { return instant{}, nil })
	var rates series
	for range rowsRuns {
		rate, err := b.recorded(ctx, []workload.Spec{spec}, workload.Config{Name: benchName, Driver: "instant", Target: "nobody:1", Clients: recordingClients, Seed: 1})
		if err != nil {
			return err
		}
		rates = append(rates, rate)
		b.say("from the call: %s operations per second", count(rate))
	}
	t := table{head: []string{"what", "n", "median, per second", "slowest, per second"}}
	t.add(fmt.Sprintf("from the call: %d clients in a closed loop for %s, on a system that answers at once", recordingClients, recordingTime),
		fmt.Sprint(len(rates)), count(rates.median()), count(rates.quantile(0)))
	s.tables = append(s.tables, t)
	b.report.bar("operations, from a client's call to a durable row", "≥ "+count(rowsBar)+" per second on two cores",
		count(rates.median())+" per second", yes(rates.median() >= rowsBar))
	return nil
}
