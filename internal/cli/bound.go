package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/discompose/discompose/compose"
)

// parallel is the value of --parallel: how many runs go on at a time. The zero value is one; auto is as many as the engine's
// host has cores.
type parallel struct {
	n    int
	auto bool
}

const parallelAuto = "auto"

// Set reads the flag.
func (p *parallel) Set(text string) error {
	if text == parallelAuto {
		*p = parallel{auto: true}
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("%q: write a number from 1, or %s", text, parallelAuto)
	}
	*p = parallel{n: n}
	return nil
}

// String is the flag as it is written.
func (p *parallel) String() string {
	if p.auto {
		return parallelAuto
	}
	return strconv.Itoa(max(p.n, 1))
}

// Type names the value in the flag's help.
func (p *parallel) Type() string { return "N" }

// many reports whether several runs may go on at a time.
func (p *parallel) many() bool { return p.auto || p.n > 1 }

// runMemory is what a run needs besides its environment: agent, clients and its own ledger.
const runMemory = 128 << 20

// bound decides how many runs go on at a time.
type bound struct {
	asked parallel
	cores int     // of the engine's host; 0 is not known
	free  int64   // bytes that the engine's host has left; 0 is not known
	need  []int64 // of each run, with its environment
}

// perCore is the most runs for each core: a run spends more than half of its time waiting for steady states, faults and
// recoveries (see the summary of a call with several scenarios), and one for each core loses that time.
const perCore = 2

// decide tells how many, and why, in a sentence.
func (b bound) decide() (n int, why string) {
	n = max(b.asked.n, 1)
	switch {
	case b.asked.auto && b.cores > 0:
		n, why = b.cores, fmt.Sprintf("the engine's host has %s", cores(b.cores))
	case b.asked.auto:
		n, why = 1, "it is not known how many cores the engine's host has"
	case b.cores > 0 && n > perCore*b.cores:
		why = fmt.Sprintf("not %d: the engine's host has %s, and more than %d runs for each would be in each other's way", n, cores(b.cores), perCore)
		n = perCore * b.cores
	case b.cores > 0 && n > b.cores:
		why = fmt.Sprintf("as asked, though the engine's host has %s: what is timed may suffer", cores(b.cores))
	default:
		why = "as asked"
	}
	if n > len(b.need) {
		n, why = max(len(b.need), 1), "there are no more runs"
	}
	largest := slices.SortedFunc(slices.Values(b.need), func(a, b int64) int { return cmp.Compare(b, a) })
	most, sum := 0, int64(0)
	for _, need := range largest[:min(n, len(largest))] {
		if sum += need; b.free > 0 && sum > b.free {
			break
		}
		most++
	}
	if most < n {
		sum = 0
		for _, need := range largest[:min(n, len(largest))] {
			sum += need
		}
		why = fmt.Sprintf("not %d: the largest %d may need %s of memory together, and the engine's host has %s left", n, n, gib(sum), gib(b.free))
		n = max(most, 1)
	}
	return n, why
}

func cores(n int) string {
	if n == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", n)
}

func gib(bytes int64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }

// lanes tells how many of the jobs go on at a time, and says so where it is more than one or was meant to be.
func (a *app) lanes(ctx context.Context, all []job, asked parallel) int {
	if !asked.many() || len(all) < 2 {
		return 1
	}
	b := bound{asked: asked}
	for _, j := range all {
		b.need = append(b.need, j.memory+runMemory)
	}
	note := ""
	if eng, err := compose.Connect(ctx); err != nil {
		note = fmt.Sprintf(" (the engine's host could not be asked what it has: %v)", err)
	} else {
		if info, err := eng.Info(ctx); err == nil {
			b.cores = info.CPUs
		}
		if b.free, err = eng.FreeMemory(ctx); err != nil {
			note = fmt.Sprintf(" (its memory is not known: %v)", err)
		}
		_ = eng.Close() // nothing was written
	}
	n, why := b.decide()
	fmt.Fprintf(a.Err, "parallel: %s at a time: %s%s\n", runsText(n), why, note)
	return n
}

func runsText(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}
