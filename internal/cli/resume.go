package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
)

// left are the jobs that have not ended.
func left(all []job, done []ending) []job {
	var out []job
	for i, j := range all {
		if !done[i].begun {
			out = append(out, j)
		}
	}
	return out
}

// before finds, in the run directories, jobs that have passed already: with this very build, scenario and Compose files, and
// with the job's seed where that is anybody's wish. Each run stands for one job.
func (a *app) before(ctx context.Context, all []job) ([]ending, error) {
	done := make([]ending, len(all))
	eng, err := compose.Connect(ctx)
	if err != nil {
		return nil, err
	}
	image, err := runner.EnsureImage(ctx, eng.Docker(), nil)
	_ = eng.Close() // nothing was written through it
	if err != nil {
		return nil, err
	}
	dirs, err := runner.Runs(a.runsDir)
	if err != nil {
		return nil, err
	}
	open, err := runner.Registered()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		info, err := ledger.ReadRun(dir)
		if err != nil || info.Build != image.Hash || info.Digest == "" || !passed(dir) || open[info.ID] != "" {
			continue // of another version, not whole, or it has left something behind: the job runs
		}
		i := matching(all, done, info)
		if i < 0 {
			continue
		}
		rec, err := reports.LoadContext(ctx, dir)
		if err != nil {
			continue
		}
		done[i] = ending{begun: true, before: true, record: rec.WithoutOps(), outcome: runner.Outcome{
			Scenario: info.Scenario, Dir: dir, Judged: true, Judgement: rec.Judgement,
		}}
		fmt.Fprintf(a.Err, "%s: passed before, in %s\n", all[i].label(), dir)
	}
	return done, ctx.Err()
}

// matching finds a job that a run was of and that has none yet; less than 0 for none.
func matching(all []job, done []ending, info ledger.Run) int {
	for i, j := range all {
		if !done[i].begun && j.digest == info.Digest && (j.drawn || *j.Seed == info.Seed) {
			return i
		}
	}
	return -1
}

func passed(dir string) bool {
	verdict, err := os.ReadFile(filepath.Join(dir, reports.FileVerdict))
	return err == nil && bytes.HasPrefix(verdict, []byte("PASS "))
}
