package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
	"github.com/discompose/discompose/reports"
)

func encodeRules(p *Plan) (json.RawMessage, error) {
	raw, err := json.Marshal(rulesOf(p))
	if err != nil {
		return nil, fmt.Errorf("encode rules: %w", err)
	}
	return raw, nil
}

// conclude saves what happened, judges it and writes the reports. stage is what ended the story early, nil if nothing
// did; it comes back as err where no verdict can be given for it.
func (r *run) conclude(ctx context.Context, stage error) (j oracle.Judgement, judged bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), judgeBudget)
	defer cancel()
	var class oracle.Class
	if stage != nil {
		var ok bool
		if class, ok = classOf(stage); !ok { // the caller tells it
			return j, false, errors.Join(stage, r.save(ctx), r.dir.Write(fileVerdict, []byte("NONE "+firstLine(stage.Error())+"\n")))
		}
		r.say(Event{Kind: EventWarn, Text: stage.Error()})
		r.note("runner", string(class), "", stage.Error())
	}
	r.phase("judge")
	if err := r.save(ctx); err != nil {
		return j, false, err
	}
	hurried := r.o.Hurry != nil && r.o.Hurry.Err() != nil
	if len(r.info.Rules) == 0 || hurried { // not even a plan, or nobody waits: only the verdict
		if stage == nil {
			class, stage = oracle.Interrupted, ErrInterrupted
		}
		j = oracle.Judgement{Primary: class, Findings: []oracle.Finding{{Class: class, Reason: stage.Error()}}}
		err = errors.Join(writeJudgement(r.dir.Path, j), r.dir.Write(fileVerdict, []byte(fmt.Sprintf("%s %s\n", j.Verdict, j.Primary))))
		if hurried || err != nil {
			return j, err == nil, err
		}
	} else if j, err = JudgeRun(ctx, r.dir.Path, r.store); err != nil {
		return j, false, err
	}
	r.phase("report")
	return j, true, WriteReports(ctx, r.dir.Path)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// save makes everything that was recorded durable: logs before teardown, the ledger before it is judged.
func (r *run) save(ctx context.Context) error {
	r.keepLinks(ctx) // while the clients' namespaces are there
	if r.o.Lend != nil && !r.early {
		r.fleet.rest()
	} else {
		r.fleet.close()
	}
	var errs []error
	if r.env != nil {
		if err := r.env.SaveLogs(ctx, r.dir.Path); err != nil {
			r.say(Event{Kind: EventWarn, Text: "save logs: " + err.Error()})
		}
	}
	r.info.Finished = time.Now().UTC().Format(time.RFC3339)
	if r.store != nil {
		errs = append(errs, r.store.AddRun(r.info), r.store.Flush(ctx))
	}
	return errors.Join(append(errs, ledger.WriteRun(r.dir.Path, r.info))...)
}

// ErrNoPlan says that a run ended before it had a plan: there is nothing that it could be judged by.
var ErrNoPlan = errors.New("it ended before it had a plan, so there is nothing to judge")

// JudgeRun judges a stored run and keeps the judgement beside it. store is the run's open ledger, or nil to open it. A
// run that ended before it had a plan is ErrNoPlan.
func JudgeRun(ctx context.Context, dir string, store *ledger.Store) (oracle.Judgement, error) {
	info, err := ledger.ReadRun(dir)
	if err != nil {
		return oracle.Judgement{}, err
	}
	if info.Injected {
		return oracle.Judgement{}, fmt.Errorf("judge %s: %w", dir, ErrInjected)
	}
	if len(info.Rules) == 0 || string(info.Rules) == "null" {
		return oracle.Judgement{}, fmt.Errorf("judge %s: %w", dir, ErrNoPlan)
	}
	var rules oracle.Rules
	if err := json.Unmarshal(info.Rules, &rules); err != nil {
		return oracle.Judgement{}, fmt.Errorf("read the rules of %s: %w", dir, err)
	}
	if store == nil {
		if store, err = ledger.Open(dir); err != nil {
			return oracle.Judgement{}, err
		}
		defer store.Close() //nolint:errcheck // opened to read
	}
	history, err := store.Load(ctx, info)
	if err != nil {
		return oracle.Judgement{}, err
	}
	j := oracle.Judge(ctx, history, rules)
	return j, errors.Join(keepResults(ctx, store, j), writeAttachments(dir, j), writeJudgement(dir, j))
}

// writeAttachments writes what checkers made for people beside the judgement.
func writeAttachments(dir string, j oracle.Judgement) error {
	for _, r := range j.Results {
		for _, a := range r.Attachments {
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(a.Name)), a.Body, 0o644); err != nil {
				return fmt.Errorf("write attachment of the %s check: %w", r.Check, err)
			}
		}
	}
	return nil
}

// keepResults writes what the checkers found into the ledger's own tables, instead of what an earlier judgement wrote.
func keepResults(ctx context.Context, store *ledger.Store, j oracle.Judgement) error {
	if err := store.ClearResults(); err != nil {
		return err
	}
	for _, r := range j.Results {
		if err := keepResult(store, r); err != nil {
			return err
		}
	}
	return store.Flush(ctx)
}

func keepResult(store *ledger.Store, r oracle.Result) error {
	name := r.Check + "/" + r.Workload
	for _, v := range r.Violations {
		raw, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode violation: %w", err)
		}
		if err := store.SaveResult(ledger.ResultViolation, name, raw); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return store.SaveResult("check", name, raw)
}

func writeJudgement(dir string, j oracle.Judgement) error {
	raw, err := json.MarshalIndent(j, "", " ")
	if err != nil {
		return fmt.Errorf("encode judgement: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, reports.FileJudgement), append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write judgement: %w", err)
	}
	return nil
}

// WriteReports writes every report that has a file into a run directory.
func WriteReports(ctx context.Context, dir string) error {
	record, err := reports.LoadContext(ctx, dir)
	if err != nil {
		return err
	}
	return reports.WriteAll(dir, record)
}

// teardown removes everything that the run made; with lend it leaves the environment to another run, if that can be done.
// Its error says what is left.
func (r *run) teardown(ctx context.Context, lend bool) error {
	ctx, cancel := context.WithTimeout(ctx, teardownBudget)
	defer cancel()
	r.phase("down")
	if !lend {
		r.fleet.close()
	}
	var failed error
	if r.env != nil && r.plan != nil {
		if failed = r.steps(ctx, r.o.Scenario.Teardown, "teardown"); failed != nil {
			r.say(Event{Kind: EventWarn, Text: failed.Error()})
		}
	}
	if r.stopBack != nil {
		r.stopBack()
	}
	if lend {
		r.background.Wait() // what is stopped from here on is no event of the run
		if err := errors.Join(failed, r.lend(ctx)); err != nil {
			r.lent, r.whyNot = nil, fmt.Sprintf("that of %s cannot be used again: %v", filepath.Base(r.dir.Path), err)
			r.say(Event{Kind: EventWarn, Text: "environment: taken down, because " + r.whyNot})
		}
		r.fleet.close()
	}
	dirty := r.remove(ctx)
	r.background.Wait()
	r.endPhases()
	r.closeFiles()
	if dirty == nil && r.lent == nil {
		dirty = unregister(r.dir.ID)
	}
	return dirty
}

// endPhases writes run.json once more, with the phases to their end. The verdict and the reports stand without it.
func (r *run) endPhases() {
	if r.info.ID == "" { // it has not begun
		return
	}
	if n := len(r.info.Phases); n > 0 && r.info.Phases[n-1].To == 0 {
		r.info.Phases[n-1].To = r.clock.now()
	}
	if err := ledger.WriteRun(r.dir.Path, r.info); err != nil {
		r.say(Event{Kind: EventWarn, Text: err.Error()})
	}
}

// remove takes the environment, the clients and the agent away.
func (r *run) remove(ctx context.Context) error {
	if r.engine == nil || r.lent != nil {
		return nil
	}
	var errs []error
	if r.env != nil && !r.info.Attached && !r.o.Keep {
		if err := r.env.Down(ctx); err != nil {
			errs = append(errs, fmt.Errorf("take the environment down: %w", err))
		}
	}
	r.closeLinks()
	if r.host != nil {
		if err := r.host.bye(ctx); err != nil {
			r.o.Log.Debug("end the agent", "err", err)
		}
	}
	if r.o.Keep { // what is kept is the environment; the next run on it finds no agent in its way
		errs = append(errs, awaitAgent(ctx, r.engine.Docker(), r.info.ID))
	}
	if !r.o.Keep {
		errs = append(errs, r.sweep(ctx))
		if r.early {
			errs = append(errs, sleep(ctx, stragglers), r.sweep(ctx))
		}
	}
	if r.taken != nil && errors.Join(errs...) == nil {
		errs = append(errs, r.taken.remove(ctx))
	}
	return errors.Join(errs...)
}

// sweep removes what carries the run's label, and that of the run whose environment it used.
func (r *run) sweep(ctx context.Context) error {
	err := compose.RemoveRun(ctx, r.engine.Docker(), r.info.ID)
	if r.taken != nil {
		err = errors.Join(err, compose.RemoveRun(ctx, r.engine.Docker(), r.taken.owner.ID))
	}
	return err
}

// closeFiles gives back what the run holds open. A failure here leaves nothing behind on the engine, so it is only told.
func (r *run) closeFiles() {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	if r.lent == nil { // who has the environment keeps the way to it, and the lock on it
		if r.engine != nil {
			errs = append(errs, r.engine.Close())
		}
		errs = append(errs, r.dir.Close())
	}
	if err := errors.Join(errs...); err != nil {
		r.say(Event{Kind: EventWarn, Text: err.Error()})
	}
}
