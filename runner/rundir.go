package runner

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/discompose/discompose/faults"
)

// Files of a run directory.
const (
	fileLock     = "run.lock"
	fileJournal  = "journal.jsonl"
	filePlan     = "plan.txt"
	fileScenario = "scenario.toml"
	fileRendered = "compose.rendered.yaml"
	fileLatest   = "latest"
	fileVerdict  = "verdict"
	fileEvents   = "events.jsonl"
)

// Dir is the directory of one run, locked while the run lives.
type Dir struct {
	Path string // absolute
	ID   string // 8 hex digits
	lock *flock.Flock
}

// ErrRunsDir says that a run directory cannot be made where it should be.
var ErrRunsDir = errors.New("use --runs-dir to put runs elsewhere")

// NewDir makes runs/<utc>-<scenario>-<id8> and locks it.
func NewDir(runs, scenario string, now time.Time) (*Dir, error) {
	raw := make([]byte, 4)
	_, _ = rand.Read(raw) // crypto/rand never fails on the supported systems
	id := hex.EncodeToString(raw)
	runs, err := filepath.Abs(runs)
	if err != nil {
		return nil, fmt.Errorf("find runs directory: %w", err)
	}
	path := filepath.Join(runs, fmt.Sprintf("%s-%s-%s", now.UTC().Format("20060102T150405Z"), safeName(scenario), id))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w: %w", err, ErrRunsDir)
	}
	d := &Dir{Path: path, ID: id, lock: flock.New(filepath.Join(path, fileLock))}
	ok, err := d.lock.TryLock()
	if err != nil || !ok {
		return nil, fmt.Errorf("lock %s: taken: %t: %w", path, !ok, err)
	}
	return d, nil
}

// OpenDir locks the directory of an earlier run. ErrAlive says that its runner still runs.
func OpenDir(path string) (*Dir, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("open run: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("open run: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, fileLock)); err != nil {
		return nil, fmt.Errorf("open run: %s is not a run directory: %w", path, err)
	}
	d := &Dir{Path: path, lock: flock.New(filepath.Join(path, fileLock))}
	ok, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrAlive)
	}
	if i := strings.LastIndex(path, "-"); i >= 0 {
		d.ID = path[i+1:]
	}
	return d, nil
}

// ErrAlive says that the runner of a run still runs.
var ErrAlive = errors.New("its runner is alive")

// Close gives the lock back.
func (d *Dir) Close() error { return d.lock.Unlock() }

// Write puts a file into the run directory.
func (d *Dir) Write(name string, data []byte) error {
	path := filepath.Join(d.Path, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Append puts data at the end of a file of the run directory, in one write.
func (d *Dir) Append(name string, data []byte) error {
	f, err := os.OpenFile(filepath.Join(d.Path, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("append to %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("append to %s: %w", name, err)
	}
	return nil
}

// PointLatest switches runs/latest to this run, by rename.
func (d *Dir) PointLatest() error {
	runs := filepath.Dir(d.Path)
	tmp := filepath.Join(runs, "."+fileLatest+"-"+d.ID)
	if err := os.Symlink(filepath.Base(d.Path), tmp); err != nil {
		return fmt.Errorf("point latest: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(runs, fileLatest)); err != nil {
		return fmt.Errorf("point latest: %w", errors.Join(err, os.Remove(tmp)))
	}
	return nil
}

// Runs lists the run directories below runs, oldest first. A missing folder has none.
func Runs(runs string) ([]string, error) {
	entries, err := os.ReadDir(runs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var out []string
	for _, e := range entries {
		path := filepath.Join(runs, e.Name())
		if _, err := os.Stat(filepath.Join(path, fileLock)); e.IsDir() && err == nil {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}

func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, s)
}

// journalFile is the durable half of a run's journal: every entry is on disk, and at the agent, before its effect.
type journalFile struct {
	file *os.File
	sent func(ctx context.Context, line json.RawMessage) error // hands the line to the agent and waits for its answer; nil without one
	now  func() int64
	ctx  context.Context // faults.Journal has no ctx: an entry is committed or refused, never abandoned
}

// openJournal opens a run's journal to append to it. A torn last line is cut off: it was never acknowledged, and what
// is appended must not run into it.
func openJournal(dir string) (*os.File, error) {
	path := filepath.Join(dir, fileJournal)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	data, err := os.ReadFile(path)
	if whole := bytes.LastIndexByte(data, '\n') + 1; err == nil && whole < len(data) {
		err = f.Truncate(int64(whole))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	return f, nil
}

// commit makes one entry durable.
func (j *journalFile) commit(e faults.Entry) error {
	if j.now != nil {
		e.At = j.now()
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode journal entry: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	if j.sent == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(j.ctx, journalAck)
	defer cancel()
	if err := j.sent(ctx, line); err != nil {
		return fmt.Errorf("send journal entry to the agent: %w", err)
	}
	return nil
}

// journalAck bounds the agent's answer to one entry.
const journalAck = 5 * time.Second

// ReadJournal rebuilds the state that a run's journal describes. A torn last line, which was never acknowledged, is
// left out.
func ReadJournal(dir string) (*faults.State, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileJournal))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	state := &faults.State{}
	lines := strings.SplitAfter(string(data), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var e faults.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			if i == len(lines)-1 {
				break
			}
			return nil, fmt.Errorf("read journal: line %d: %w", i+1, err)
		}
		if err := state.Replay(e); err != nil {
			return nil, fmt.Errorf("read journal: line %d: %w", i+1, err)
		}
	}
	return state, nil
}
