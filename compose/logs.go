package compose

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/container"
)

// stampLayout is RFC 3339 with all nine digits, so that lines sort.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// logLine is one line of a container's log.
type logLine struct {
	at     time.Time // the engine's wall clock
	stderr bool
	text   string
}

// readLog reads a log stream to its end. Timestamps must be on.
func (e *Environment) readLog(ctx context.Context, id string, o container.LogsOptions, f func(logLine)) error {
	i, err := e.engine.docker.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	stream, err := e.engine.docker.ContainerLogs(ctx, id, o)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() }) // only unblocks the read
	defer stop()
	next := readFrame
	if i.Config.Tty {
		next = ttyFrame()
	}
	err = splitLines(bufio.NewReader(stream), next, f)
	return errors.Join(err, stream.Close())
}

// ttyFrame reads a terminal's log, which has no frames: a line is one.
func ttyFrame() func(io.Reader) (frame, error) {
	var lines *bufio.Reader
	return func(r io.Reader) (frame, error) {
		if lines == nil {
			lines = bufio.NewReader(r)
		}
		text, err := lines.ReadBytes('\n')
		if len(text) > 0 {
			return frame{text: text}, nil
		}
		return frame{}, err
	}
}

// splitLines joins frames into lines: the engine splits a long line into frames of 16 KiB, each with its own timestamp.
func splitLines(r io.Reader, next func(io.Reader) (frame, error), f func(logLine)) error {
	j := joiner{f: f}
	for {
		fr, err := next(r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			j.end()
			return nil
		}
		if err != nil {
			return err
		}
		j.take(fr)
	}
}

// joiner hands over each line once it is whole.
type joiner struct {
	f    func(logLine)
	open [2]*logLine // of stdout and stderr
}

func (j *joiner) take(fr frame) {
	stamp, text, _ := bytes.Cut(fr.text, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		at, text = time.Time{}, fr.text
	}
	i := 0
	if fr.stderr {
		i = 1
	}
	if j.open[i] == nil {
		j.open[i] = &logLine{at: at, stderr: fr.stderr}
	}
	line, ended := bytes.CutSuffix(text, []byte("\n"))
	j.open[i].text += string(line)
	if ended {
		j.f(*j.open[i])
		j.open[i] = nil
	}
}

// end hands over the lines that the end of the log cut off.
func (j *joiner) end() {
	for _, l := range j.open {
		if l != nil {
			j.f(*l)
		}
	}
}

// tail is the end of a container's log, for error messages; what cannot be read is left out.
func (e *Environment) tail(ctx context.Context, id string, lines int) []string {
	var out []string
	o := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: fmt.Sprint(lines)}
	_ = e.readLog(ctx, id, o, func(l logLine) { out = append(out, l.text) })
	return out
}

// Tail is the last lines of a service's first container, for people; nil where there is none.
func (e *Environment) Tail(ctx context.Context, service string, lines int) []string {
	c, err := e.Container(ctx, service, 1)
	if err != nil {
		return nil
	}
	return e.tail(ctx, c.ID, lines)
}

// FollowLogs gives every line that a service's containers have logged since they were made, or since BeginAnew, and each new
// one as it comes, with the engine's timestamp, until ctx ends (then it returns nil; an engine that stays away for 30 s is an
// error). It goes on over restarts and recreations, without a line lost or doubled. Calls of f do not overlap; lines of one
// container come in its order.
func (e *Environment) FollowLogs(ctx context.Context, service string, f func(line string, t time.Time)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan logLine)
	followed := map[string]bool{}
	wake := e.wakeups(ctx)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	answered := time.Now()
	for {
		ids, err := e.containersOf(ctx, service)
		if err == nil {
			answered = time.Now()
		} else if ctx.Err() == nil && time.Since(answered) > 30*time.Second { // it may be restarting
			return err
		}
		for _, id := range ids {
			if !followed[id] {
				followed[id] = true
				go e.followOne(ctx, id, lines)
			}
		}
		if !deliver(ctx, lines, wake, look.C, f) {
			return nil
		}
	}
}

// deliver hands lines on until it is time to look for new containers; false is the end.
func deliver(ctx context.Context, lines <-chan logLine, wake <-chan struct{}, tick <-chan time.Time, f func(string, time.Time)) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case l := <-lines:
			f(l.text, l.at)
		case <-wake:
			return true
		case <-tick:
			return true
		}
	}
}

func (e *Environment) containersOf(ctx context.Context, service string) ([]string, error) {
	fl := e.filter()
	fl.Add("label", api.ServiceLabel+"="+service)
	list, err := e.engine.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: fl})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", service, err)
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

// follower reads one container's log over its restarts.
type follower struct {
	last time.Time
	seen map[logLine]int // how often a line of the last two seconds (overlap) was given
	most int             // size at which older ones are forgotten
	got  bool            // whether the last stream brought anything
	back bool            // whether the last line was a replay
	run  string          // the container's StartedAt when its last stream ended
}

// overlap is how far a resumed stream goes back: the two streams of a container are stamped apart, so their lines may be
// stored a little out of order.
const overlap = 2 * time.Second

// followOne follows until ctx ends or the container is gone. A stream ends when the container stops.
func (e *Environment) followOne(ctx context.Context, id string, lines chan<- logLine) {
	fw := follower{seen: map[logLine]int{}, most: 1024}
	for {
		again := maps.Clone(fw.seen)
		fw.got = false
		from := e.begun()
		if back := fw.last.Add(-overlap); back.After(from) {
			from = back
		}
		o := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: true, Since: engineTime(from)}
		_ = e.readLog(ctx, id, o, func(l logLine) { // a broken stream is resumed
			if again[l] > 0 {
				again[l]--
				return
			}
			if fw.replayed(l) {
				return
			}
			fw.took(l)
			fw.got = true
			select {
			case lines <- l:
			case <-ctx.Done():
			}
		})
		if !e.waitMore(ctx, id, &fw) {
			return
		}
	}
}

// replayed reports whether a line was given before, and later ones since: engine 20.10 was seen to hand lines of an open stream
// out twice. Equal lines of one instant come one after the other.
func (f *follower) replayed(l logLine) bool {
	f.back = f.seen[l] > 0 && (f.back || l.at.Before(f.last))
	return f.back
}

func (f *follower) took(l logLine) {
	if l.at.After(f.last) {
		f.last = l.at
	}
	f.seen[l]++
	if len(f.seen) < f.most {
		return
	}
	old := f.last.Add(-overlap)
	maps.DeleteFunc(f.seen, func(l logLine, _ int) bool { return l.at.Before(old) })
	f.most = max(1024, 2*len(f.seen))
}

// waitMore waits, after a stream has ended, until there may be more to read: the container runs or has run again, or the
// last stream brought something (its end may have cut lines off). False: it is gone, or ctx has ended.
func (e *Environment) waitMore(ctx context.Context, id string, f *follower) bool {
	for wait(ctx, 100*time.Millisecond) {
		i, err := e.engine.docker.ContainerInspect(ctx, id)
		if errdefs.IsNotFound(err) {
			return false
		}
		if err != nil {
			continue
		}
		ran := i.State.StartedAt != f.run
		f.run = i.State.StartedAt
		if i.State.Running || ran || f.got {
			return true
		}
	}
	return false
}
