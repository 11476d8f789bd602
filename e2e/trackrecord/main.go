// Command trackrecord runs pairs of systems, one with a known bug and one without, many times under different seeds, and
// prints how often the first was convicted and the second acquitted.
//
//	trackrecord -runs 10 -parallel 4 -out docs/TRACK_RECORD.md e2e/zoo/cases.toml
//
// It runs the discompose binary, as a user would, and reads the verdict files. It ends with 1 where a case is off: where the
// good twin failed once, or the bad one was not convicted, with the case's class as the primary one, in every run (or, in a
// file with bar = "once", in any).
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/discompose/discompose/compose"
)

// file is a list of cases.
type file struct {
	Mark  string `toml:"mark"`  // names the table in the document
	Bar   string `toml:"bar"`   // "every" (default) or "once": how often the bad one must be convicted
	Cases []pair `toml:"case"`  //
	Note  string `toml:"note"`  // one line below the table
	Setup string `toml:"setup"` // the command that reproduces it, for people
}

// pair is one bug and its absence.
type pair struct {
	Name     string   `toml:"name"`
	What     string   `toml:"what"`
	Source   string   `toml:"source"`
	Scenario string   `toml:"scenario"`
	Class    classes  `toml:"class"` // one of which is to be primary
	Bad      []string `toml:"bad"`   // --set of the system with the bug
	Good     []string `toml:"good"`  // and without
}

// classes is one class, or a list of them.
type classes []string

// UnmarshalTOML takes a string or an array of strings.
func (c *classes) UnmarshalTOML(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, x := range list {
		class, ok := x.(string)
		if !ok {
			return fmt.Errorf("class %v is no text", x)
		}
		*c = append(*c, class)
	}
	return nil
}

// result is one run.
type result struct {
	pair    int
	bad     bool
	seed    int64
	verdict string // "FAIL data-loss", as the file says
	took    time.Duration
	dir     string
}

type flags struct {
	runs, parallel    int
	seed              int64
	bin, runsDir, out string
	only              string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "trackrecord:", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context) (code int, err error) {
	var f flags
	flag.IntVar(&f.runs, "runs", 10, "runs of each of the two")
	flag.IntVar(&f.parallel, "parallel", 1, "runs at a time")
	flag.Int64Var(&f.seed, "seed", rand.Int64N(1<<31), "from which the seeds of the runs are drawn; drawn itself where it is not given")
	flag.StringVar(&f.bin, "bin", "bin/discompose", "the binary")
	flag.StringVar(&f.runsDir, "runs-dir", "runs/trackrecord", "where the run directories go")
	flag.StringVar(&f.out, "out", "", "a document whose table between <!-- mark --> and <!-- /mark --> is replaced")
	flag.StringVar(&f.only, "only", "", "only the cases of this name")
	flag.Parse()
	if flag.NArg() != 1 {
		return 0, errors.New("give one file of cases")
	}
	var list file
	if m, err := toml.DecodeFile(flag.Arg(0), &list); err != nil {
		return 0, fmt.Errorf("read cases: %w", err)
	} else if left := m.Undecoded(); len(left) > 0 {
		return 0, fmt.Errorf("read cases: %s: unknown key %s", flag.Arg(0), left[0])
	}
	if f.only != "" {
		list.Cases = slices.DeleteFunc(list.Cases, func(p pair) bool { return p.Name != f.only })
	}
	if len(list.Cases) == 0 || f.runs < 1 || f.parallel < 1 {
		return 0, errors.New("there is no case to run")
	}
	n, err := fitting(ctx)
	if err != nil {
		return 0, err
	}
	if n < f.parallel {
		fmt.Fprintf(os.Stderr, "trackrecord: memory allows %d runs at a time, not %d\n", n, f.parallel)
		f.parallel = n
	}
	began := time.Now()
	results := carryOut(ctx, f, list.Cases)
	if ctx.Err() != nil {
		return 130, nil //nolint:nilerr // the exit code says it
	}
	table, off := list.table(results, f.runs)
	head := fmt.Sprintf("%d runs each, %d at a time, %s in all, seeds drawn from SEED=%d; %s\n\n",
		f.runs, f.parallel, time.Since(began).Round(time.Second), f.seed, time.Now().UTC().Format(time.DateOnly))
	fmt.Print(head, table)
	for _, o := range off {
		fmt.Println("off:", o)
	}
	if f.out != "" && f.only == "" {
		if err := replace(f.out, list.Mark, head+table); err != nil {
			return 0, err
		}
	}
	if len(off) > 0 {
		return 1, nil
	}
	return 0, nil
}

// runMemory is more than any of the cases takes: at most three servers, an agent and a client.
const runMemory = 1 << 30

// fitting is how many runs the engine's host has memory for, at least one.
func fitting(ctx context.Context) (n int, err error) {
	eng, err := compose.Connect(ctx)
	if err != nil {
		return 0, err
	}
	free, err := eng.FreeMemory(ctx)
	return int(max(free/runMemory, 1)), errors.Join(err, eng.Close())
}

// carryOut runs every case, the bad and the good one in turn, so that an early end has something of each.
func carryOut(ctx context.Context, f flags, cases []pair) []result {
	var jobs []result
	random := rand.New(rand.NewPCG(uint64(f.seed), 0)) //nolint:gosec // any bits are a seed
	for range f.runs {
		for i := range cases {
			seed := random.Int64N(1 << 31)
			jobs = append(jobs, result{pair: i, bad: true, seed: seed}, result{pair: i, seed: seed})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, f.parallel)
	for i := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			j := &jobs[i]
			one(ctx, f, cases[j.pair], j)
			fmt.Fprintf(os.Stderr, "%3d/%d  %-24s %-4s seed %-11d %-28s %s\n", i+1, len(jobs), cases[j.pair].Name, which(j.bad), j.seed, j.verdict, j.took.Round(time.Second))
		})
	}
	wg.Wait()
	return jobs
}

func which(bad bool) string {
	if bad {
		return "bug"
	}
	return "twin"
}

// one carries out a run. What goes wrong is its verdict.
func one(ctx context.Context, f flags, p pair, r *result) {
	args := []string{"--runs-dir", f.runsDir, "--no-color", "run", p.Scenario, "--seed", strconv.FormatInt(r.seed, 10), "--no-fallback"}
	set := p.Good
	if r.bad {
		set = p.Bad
	}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, f.bin, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err := cmd.Run()
	r.took = time.Since(began)
	if at := bytes.LastIndex(errs.Bytes(), []byte("run directory: ")); at >= 0 {
		r.dir, _, _ = strings.Cut(errs.String()[at+len("run directory: "):], "\n")
	}
	verdict, readErr := os.ReadFile(filepath.Join(r.dir, "verdict"))
	if r.dir == "" || readErr != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		r.verdict = fmt.Sprintf("none (%v): %s", err, lines[len(lines)-1])
		return
	}
	r.verdict = strings.TrimSpace(string(verdict))
}

// table prints a row for each case, and what is off.
func (l file) table(results []result, runs int) (table string, off []string) {
	var b strings.Builder
	b.WriteString("| case | bug | class | convicted | twin acquitted | median of a run | reproduce |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for i, p := range l.Cases {
		var convicted, acquitted int
		var took []time.Duration
		var searched time.Duration // runs of the bad one up to its first conviction, one after the other
		first := ""
		for _, r := range results {
			if r.pair != i {
				continue
			}
			took = append(took, r.took)
			class, failed := strings.CutPrefix(r.verdict, "FAIL ")
			if r.bad && first == "" {
				searched += r.took
			}
			switch {
			case r.bad && failed && slices.Contains(p.Class, class):
				if convicted++; l.Bar == "once" && first == "" {
					first = fmt.Sprintf(" (first after %d s of runs, seed %d)", int(searched.Seconds()), r.seed)
				}
			case !r.bad && strings.HasPrefix(r.verdict, "PASS"):
				acquitted++
			case !r.bad || l.Bar != "once":
				off = append(off, fmt.Sprintf("%s, %s, seed %d: %s (%s)", p.Name, which(r.bad), r.seed, r.verdict, r.dir))
			}
		}
		if l.Bar == "once" && convicted == 0 {
			off = append(off, p.Name+": never convicted")
		}
		slices.Sort(took)
		what := p.What
		if p.Source != "" {
			what = fmt.Sprintf("%s ([report](%s))", what, p.Source)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d of %d%s | %d of %d | %d s | `%s ONLY=%s` |\n", p.Name, what, strings.Join(p.Class, " or "), convicted, runs, first, acquitted, runs,
			int(took[len(took)/2].Seconds()), l.Setup, p.Name)
	}
	if l.Note != "" {
		fmt.Fprintf(&b, "\n%s\n", l.Note)
	}
	fmt.Fprintf(&b, "\nAll of it: `%s`\n", l.Setup)
	return b.String(), off
}

// replace writes the table between the document's marks.
func replace(path, mark, table string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	open, shut := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
	from, to := strings.Index(string(doc), open), strings.Index(string(doc), shut)
	if from < 0 || to < from {
		return fmt.Errorf("%s has no %s and %s", path, strings.TrimSpace(open), shut)
	}
	out := string(doc[:from+len(open)]) + "\n" + table + "\n" + string(doc[to:])
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}
