// Package runner wires everything together: it plans a scenario, runs it on a Compose environment, and writes the run
// directory that reports and judges read.
//
// The flow of a run, each stage with a deadline of its own:
//
//	load → plan → agent → preflight → up → ready → setup → steady state
//	  → timeline [inject → witness → hold → revert → witness gone]
//	  → recovery → drain → final reads → logs → judge → report → down
//
// Healing outlives cancellation: whatever ends a run, every fault that the journal owes is undone first, and what the
// run made is removed. The runner makes choices only while it plans; the executor follows the plan. It is the only
// package that imports faults, compose, agent, workload, ledger and oracle together. A Run is used by one goroutine.
package runner
