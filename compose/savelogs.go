package compose

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
)

const (
	logFolder = "logs"
	// logPart ends the name of a log that was kept before its container was removed: "web-1.<time>.part".
	logPart = ".part"
)

// SaveLogs writes the whole log of every container of the project into dir/logs/<service>.log, or <service>-<n>.log where
// a service has several containers: one line each with the engine's timestamp, and "!" before lines of standard error. What
// KeepLog has kept of earlier containers comes before what their successor says. A container whose log cannot be read gets
// a file that says so, and an error.
func (e *Environment) SaveLogs(ctx context.Context, dir string) error {
	list, err := e.Containers(ctx)
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, logFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save logs: %w", err)
	}
	kept, err := keptLogs(dir)
	if err != nil {
		return err
	}
	for _, k := range kept { // one that has no successor has a log all the same
		if !slices.ContainsFunc(list, func(c Container) bool { return c.Service == k.Service && c.Number == k.Number }) {
			list = append(list, Container{Service: k.Service, Number: k.Number})
		}
	}
	count := map[string]int{}
	for _, c := range list {
		count[c.Service]++
	}
	var errs []error
	for _, c := range list {
		name := c.Service + ".log"
		if count[c.Service] > 1 {
			name = fmt.Sprintf("%s-%d.log", c.Service, c.Number)
		}
		if err := e.saveLog(ctx, c, kept, filepath.Join(dir, name)); err != nil {
			errs = append(errs, fmt.Errorf("save log of %s: %w", c, err))
		}
	}
	return errors.Join(errs...)
}

// saveLog writes the kept parts of a container's log and then its own, and takes the parts away.
func (e *Environment) saveLog(ctx context.Context, c Container, kept []keptLog, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var parts []string
	for _, k := range kept {
		if k.Service == c.Service && k.Number == c.Number {
			parts = append(parts, k.path)
			err = errors.Join(err, appendFile(f, k.path))
		}
	}
	if c.ID != "" {
		err = errors.Join(err, e.writeLog(ctx, c.ID, f))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, p := range parts {
		err = errors.Join(err, os.Remove(p))
	}
	return err
}

func appendFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, f)
	return errors.Join(err, f.Close())
}

// writeLog writes a container's log. Where it cannot be read, a line says so.
func (e *Environment) writeLog(ctx context.Context, id string, to io.Writer) error {
	w := bufio.NewWriter(to)
	err := e.readLog(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Since: engineTime(e.begun())}, func(l logLine) {
		mark := "  "
		if l.stderr {
			mark = "! "
		}
		_, _ = fmt.Fprintf(w, "%s %s%s\n", l.at.UTC().Format(stampLayout), mark, l.text) // Flush returns the first error
	})
	if err != nil {
		_, _ = fmt.Fprintf(w, "the log cannot be read: %v\n", err) // Flush returns the first error
	}
	return errors.Join(err, w.Flush())
}

// KeepLog keeps the log of a container that is about to be removed, by its id, for SaveLogs. A container that is none of
// the project's services is left alone.
func (e *Environment) KeepLog(ctx context.Context, dir, id string) error {
	in, err := e.engine.docker.ContainerInspect(ctx, id)
	if err != nil {
		return fmt.Errorf("keep log of container %.12s: %w", id, err)
	}
	l := in.Config.Labels
	if l[api.ProjectLabel] != e.name || l[api.ServiceLabel] == "" || l[api.OneoffLabel] == "True" || l[api.HookLabel] != "" {
		return nil
	}
	n, err := strconv.Atoi(l[api.ContainerNumberLabel])
	if err != nil {
		n = 1
	}
	dir = filepath.Join(dir, logFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep log of %s: %w", l[api.ServiceLabel], err)
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.%020d%s", l[api.ServiceLabel], n, time.Now().UnixNano(), logPart)))
	if err == nil {
		err = errors.Join(e.writeLog(ctx, id, f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("keep log of %s: %w", l[api.ServiceLabel], err)
	}
	return nil
}

// keptLog is a file of KeepLog.
type keptLog struct {
	Container // service and number alone
	path      string
}

// keptLogs lists them, oldest first.
func keptLogs(dir string) ([]keptLog, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+logPart))
	if err != nil {
		return nil, fmt.Errorf("list kept logs: %w", err)
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Compare(filepath.Ext(strings.TrimSuffix(a, logPart)), filepath.Ext(strings.TrimSuffix(b, logPart)))
	})
	var out []keptLog
	for _, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), logPart)
		name = strings.TrimSuffix(name, filepath.Ext(name))
		i := strings.LastIndex(name, "-")
		n, err := strconv.Atoi(name[i+1:])
		if i < 0 || err != nil {
			continue // not ours
		}
		out = append(out, keptLog{Container{Service: name[:i], Number: n}, p})
	}
	return out, nil
}
