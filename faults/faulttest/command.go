package faulttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// page is the file that a fake container serves: without it, requests are answered with 403.
const page = "/usr/share/nginx/html/index.html"

// volatile is where files live no longer than a container's process.
const volatile = "/dev/shm/"

// command is a command in a fake container. It understands "true", "false", "echo", "cat", "test -e", "touch", "rm", "mv",
// "sleep" (seconds), "kill 1" (SIGTERM) and "curl" (the status of the page), and "sh -c" with these, joined by "&&".
type command struct {
	box     string
	argv    []string
	pid     int
	running bool
	killed  chan struct{} // closed by a signal
}

func (e engine) CreateExec(_ context.Context, id string, argv []string) (string, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	b, err := e.w.find(id)
	if err != nil {
		return "", err
	}
	if err := b.hosts(); err != nil {
		return "", err
	}
	name := fmt.Sprintf("exec-%d", len(e.w.commands))
	e.w.commands[name] = &command{box: id, argv: argv, killed: make(chan struct{})}
	return name, nil
}

// hosts fails if nothing can be run in the container.
func (b *box) hosts() error {
	switch {
	case !b.running || b.restarting || !b.dead.IsZero():
		return errNotRunning
	case b.paused:
		return errPaused
	}
	return nil
}

// errPaused is the engine's answer to a command in a container that is paused.
var errPaused = errors.New("container is paused, unpause the container before exec")

func (e engine) RunExec(ctx context.Context, id string) (faults.Output, error) {
	w := e.w
	begin := func() (c *command, of int, at failure, with error, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if c = w.commands[id]; c == nil {
			return c, 0, never, nil, fmt.Errorf("%w: exec %s", faults.ErrGone, id)
		}
		b, err := w.find(c.box)
		if err == nil {
			err = b.hosts()
		}
		if err != nil {
			return c, 0, never, nil, err
		}
		if c.changes() {
			w.changes++
			at, with = w.failAt, w.failWith
			w.failAt, w.failWith = never, nil
		}
		w.lastPID++
		c.pid, c.running = w.lastPID, at != before && (!w.lie || !c.changes())
		return c, b.pid, at, with, nil
	}
	c, of, at, with, err := begin()
	switch {
	case err != nil:
		return faults.Output{}, err
	case at == before:
		return faults.Output{}, with
	case !c.running:
		return faults.Output{}, nil
	}
	done := make(chan faults.Output, 1)
	go func() { done <- w.execute(c, of) }()
	select {
	case out := <-done:
		return out, with
	case <-ctx.Done():
		return faults.Output{}, context.Cause(ctx)
	}
}

func (e engine) Executing(_ context.Context, id string) (int, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if c := e.w.commands[id]; c != nil && c.running {
		return c.pid, nil
	}
	return 0, nil
}

// statements are what a command does, one after the other.
func (c *command) statements() [][]string {
	if len(c.argv) != 3 || c.argv[0] != "sh" || c.argv[1] != "-c" {
		return [][]string{c.argv}
	}
	var out [][]string
	for s := range strings.SplitSeq(c.argv[2], "&&") {
		out = append(out, strings.Fields(s))
	}
	return out
}

// changes reports whether a command does more than look.
func (c *command) changes() bool {
	return slices.ContainsFunc(c.statements(), func(s []string) bool { return slices.Contains([]string{"touch", "rm", "mv", "kill"}, s[0]) })
}

// execute runs a command to its end, or to that of the process that the container had when it began.
func (w *World) execute(c *command, of int) (out faults.Output) {
	step := func(s []string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		b, err := w.find(c.box)
		if err != nil || b.pid != of || !b.dead.IsZero() || !c.running {
			out.Code = 137
			return false
		}
		text, code := w.do(b, s)
		out.Text, out.Code = out.Text+text, code
		return code == 0
	}
	for _, s := range c.statements() {
		took := time.Millisecond
		if s[0] == "sleep" {
			seconds, _ := strconv.ParseFloat(s[1], 64) // 0 where it is no number
			took = time.Duration(seconds * float64(time.Second))
		}
		select {
		case <-time.After(took):
		case <-c.killed:
		}
		if !step(s) {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.running = false
	return out
}

// do carries one statement out.
func (w *World) do(b *box, s []string) (text string, code int) {
	absent := func(file string) (string, int) {
		return fmt.Sprintf("%s: %s: No such file or directory\n", s[0], file), 1
	}
	last := s[len(s)-1]
	switch s[0] {
	case "true", "sleep":
		return "", 0
	case "echo":
		return strings.Join(s[1:], " ") + "\n", 0
	case "test":
		return "", 1 - truth(b.files[last])
	case "cat":
		if !b.files[last] {
			return absent(last)
		}
		return "text of " + last + "\n", 0
	case "touch":
		b.files[last] = true
		return "", 0
	case "rm":
		if !b.files[last] {
			return absent(last)
		}
		delete(b.files, last)
		return "", 0
	case "mv":
		if !b.files[s[1]] {
			return absent(s[1])
		}
		delete(b.files, s[1])
		b.files[s[2]] = true
		return "", 0
	case "curl":
		return map[bool]string{true: "200", false: "403"}[b.files[page]], 0
	case "kill":
		w.signal(b, "SIGTERM")
		return "", 0
	case "false":
		return "", 1
	}
	return fmt.Sprintf("OCI runtime exec failed: exec: %q: executable file not found in $PATH: unknown\r\n", s[0]), 127
}

// shed takes away the files that a container loses with its process.
func (b *box) shed() {
	maps.DeleteFunc(b.files, func(name string, _ bool) bool { return strings.HasPrefix(name, volatile) })
}
