package reports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/oracle"
)

// FileJudgement is the file of a run directory that holds its oracle.Judgement as JSON.
const FileJudgement = "judgement.json"

// Files of a run directory that Load reads besides run.json.
const (
	fileLedger   = "ledger.sqlite"
	filePlan     = "plan.txt"
	fileScenario = "scenario.toml"
	dirLogs      = "logs"
	dirMetrics   = "metrics"
)

// Record is everything that a report tells of one run. Only Run and Judgement are needed; the zero value of every other
// field makes reports leave a section out.
type Record struct {
	Dir       string // run directory, as given to Load
	Run       ledger.Run
	Rules     oracle.Rules // decoded from Run.Rules
	Judgement oracle.Judgement
	History   *ledger.History // nil where the run has no ledger
	Scenario  []byte          // the scenario file verbatim
	Plan      string          // plan.txt

	// Logs returns the lines of a service between two instants of the engine host's wall clock, oldest first; nil
	// where no log was kept.
	Logs func(service string, from, to time.Time) []LogLine
	// LogServices are the services that have a log, sorted.
	LogServices []string
	// Metrics are the snapshots of metrics/*.json by file name without the extension, verbatim.
	Metrics map[string]json.RawMessage
	// Files are the names in the run directory, sorted; folders end in "/".
	Files []string
	// Problems are sentences about parts of the run directory that are missing.
	Problems []string
}

// Load reads a run directory. Only run.json has to be there: each other part that is missing becomes one of Problems. A
// part that is there and cannot be read (damaged, or of a newer version) is an error that names it.
func Load(dir string) (*Record, error) {
	return LoadContext(context.Background(), dir) //nolint:forbidigo // the documented short form; LoadContext takes one
}

// LoadContext is Load that ends early with ctx.
func LoadContext(ctx context.Context, dir string) (*Record, error) {
	run, err := ledger.ReadRun(dir)
	if err != nil {
		return nil, fmt.Errorf("load run: %w", err)
	}
	r := &Record{Dir: dir, Run: run}
	if len(run.Rules) > 0 {
		if err := json.Unmarshal(run.Rules, &r.Rules); err != nil {
			return nil, fmt.Errorf("load run: decode rules of run.json: %w", err)
		}
	}
	for _, load := range []func() error{
		func() error { return r.loadJudgement() },
		func() error { return r.loadHistory(ctx) },
		func() error { return r.loadTexts() },
		func() error { return r.loadMetrics() },
		func() error { return r.listFiles() },
	} {
		if err := load(); err != nil {
			return nil, fmt.Errorf("load run: %w", err)
		}
	}
	r.openLogs()
	return r, nil
}

func (r *Record) path(name string) string { return filepath.Join(r.Dir, name) }

func (r *Record) missing(text string) { r.Problems = append(r.Problems, text) }

func (r *Record) loadJudgement() error {
	data, err := os.ReadFile(r.path(FileJudgement))
	if errors.Is(err, fs.ErrNotExist) {
		r.missing("The run was not judged (there is no judgement.json): `discompose check` judges it.")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read judgement: %w", err)
	}
	if err := json.Unmarshal(data, &r.Judgement); err != nil {
		return fmt.Errorf("decode %s: %w", FileJudgement, err)
	}
	return nil
}

func (r *Record) loadHistory(ctx context.Context) (err error) {
	if _, err := os.Stat(r.path(fileLedger)); errors.Is(err, fs.ErrNotExist) {
		r.missing("The run kept no ledger: its operations are not shown.")
		return nil
	}
	store, err := ledger.Open(r.Dir)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if r.History, err = store.Load(ctx, r.Run); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	return nil
}

func (r *Record) loadTexts() error {
	plan, err := os.ReadFile(r.path(filePlan))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read plan: %w", err)
	}
	r.Plan = string(plan)
	r.Scenario, err = os.ReadFile(r.path(fileScenario))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read scenario: %w", err)
	}
	return nil
}

func (r *Record) loadMetrics() error {
	names, err := filepath.Glob(filepath.Join(r.path(dirMetrics), "*.json"))
	if err != nil {
		return fmt.Errorf("list metrics: %w", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		base := filepath.Base(name)
		if !json.Valid(data) {
			r.missing(fmt.Sprintf("The metrics of %s are no JSON and are left out.", base))
			continue
		}
		if r.Metrics == nil {
			r.Metrics = map[string]json.RawMessage{}
		}
		r.Metrics[strings.TrimSuffix(base, ".json")] = data
	}
	return nil
}

func (r *Record) listFiles() error {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		r.Files = append(r.Files, name)
	}
	slices.Sort(r.Files)
	return nil
}
