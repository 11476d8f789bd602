package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/discompose/discompose/ledger"
)

// call is one run of the binary, as a user makes it, with run and state folders of its own.
type call struct {
	cmd    *exec.Cmd
	runs   string
	output bytes.Buffer
	began  time.Time
}

// start runs a scenario of testdata.
func (b *bench) start(ctx context.Context, scenario string) (*call, error) {
	home, err := os.MkdirTemp(b.dir, scenario+"-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	c := &call{runs: filepath.Join(home, "runs")}
	c.cmd = exec.CommandContext(ctx, b.bin, "--runs-dir", c.runs, "run", "--pull", "never", "--no-fallback", filepath.Join("e2e", "bench", "testdata", scenario+".toml"))
	// A state folder of its own keeps it from healing what others run, and others from healing this.
	c.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+home)
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = time.Minute
	c.began = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", scenario, err)
	}
	return c, nil
}

// dir is the run directory, and the id at its end; empty while there is none.
func (c *call) dir() (path, id string) {
	dirs, err := filepath.Glob(filepath.Join(c.runs, "*Z-*"))
	if err != nil || len(dirs) == 0 {
		return "", ""
	}
	return dirs[0], dirs[0][strings.LastIndexByte(dirs[0], '-')+1:]
}

// finish waits for a run, and returns how long it took and what is in its ledger. A run that proved nothing counts too,
// for its times are as good, but the section says so.
func (b *bench) finish(ctx context.Context, c *call, s *section) (time.Duration, *ledger.History, error) {
	err := c.cmd.Wait()
	took := time.Since(c.began)
	dir, id := c.dir()
	if id != "" {
		b.runs = append(b.runs, id)
	}
	if code := c.cmd.ProcessState.ExitCode(); code == exitInconclusive {
		s.note("A run ended as %s.", verdict(dir))
	} else if err != nil {
		return 0, nil, fmt.Errorf("%w: %s", err, lastLines(c.output.String(), 12))
	}
	info, err := ledger.ReadRun(dir)
	if err != nil {
		return 0, nil, err
	}
	store, err := ledger.Open(dir)
	if err != nil {
		return 0, nil, err
	}
	h, err := store.Load(ctx, info)
	return took, h, errors.Join(err, store.Close())
}

// exitInconclusive is the exit code of a run that proved nothing.
const exitInconclusive = 2

func verdict(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, "verdict"))
	if err != nil {
		return "a run without a verdict"
	}
	return strings.TrimSpace(string(raw))
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}
