package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

const checksRounds = 5

// checked is a benchmark of package oracle.
type checked struct{ benchmark, what string }

// checksOf are in the order in which a round measures them: the register check and porcupine one after the other.
func checksOf() []checked {
	return []checked{
		{"Set", "set: half a million adds, ten lists, the final read"},
		{"Register", "register: 100,000 operations on 20 keys"},
		{"BarePorcupine", "porcupine alone on the same history, converted before"},
		{"Objects", "objects"},
		{"Append", "append"},
	}
}

// checks measures the other checks by package oracle's own benchmarks.
func (b *bench) checks(ctx context.Context, s *section) error {
	s.title = "The other checks"
	s.text = "The benchmarks of package oracle on legal histories in memory, with GOMAXPROCS=1, in turn, round by round, a second each. `register` is given the history as the ledger has it: " +
		"what it takes to sort that by key and to read it is in its time, and not in porcupine's."
	bin := filepath.Join(b.dir, "oracle.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, "./oracle").CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmarks of ./oracle: %w: %s", err, out)
	}
	rates := map[string]series{}
	for range checksRounds {
		for _, c := range checksOf() {
			rate, err := benchmark(ctx, bin, c.benchmark)
			if err != nil {
				return err
			}
			rates[c.benchmark] = append(rates[c.benchmark], rate)
		}
	}
	t := table{head: []string{"check", "n", "median, operations per second", "slowest"}}
	for _, c := range checksOf() {
		r := rates[c.benchmark]
		t.add(c.what, fmt.Sprint(len(r)), count(r.median()), count(r.quantile(0)))
		b.say("%s: %s operations per second", c.what, count(r.median()))
	}
	s.tables = append(s.tables, t)
	set, ratio := rates["Set"].median(), rates["Register"].median()/rates["BarePorcupine"].median()
	b.report.bar("set check", "≥ "+count(checkBar)+" operations per second on one core", count(set)+" per second", yes(set >= checkBar))
	b.report.bar("register check against porcupine alone, same history", "≥ 1 ×", fmt.Sprintf("%.2f ×", ratio), yes(ratio >= 1))
	return nil
}

var opsPerSecond = regexp.MustCompile(`\s([0-9.e+]+) ops/s`)

// benchmark runs one of a test binary, and returns its operations per second.
func benchmark(ctx context.Context, bin, name string) (float64, error) {
	c := exec.CommandContext(ctx, bin, "-test.run", "^$", "-test.bench", "^Benchmark"+name+"$", "-test.cpu", "1", "-test.benchtime", "1s")
	c.Dir, c.Stderr = "oracle", os.Stderr
	out, err := c.Output()
	m := opsPerSecond.FindSubmatch(out)
	if err == nil && m == nil {
		err = errors.New("it says no ops/s")
	}
	if err != nil {
		return 0, fmt.Errorf("benchmark %s: %w: %s", name, err, out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("benchmark %s: %w", name, err)
	}
	return rate, nil
}
