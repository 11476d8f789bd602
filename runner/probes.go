package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/discompose/discompose/scenarios"
)

// evaluation is one evaluation of a probe: nil if it holds.
type evaluation = func(context.Context) error

// localProbe returns how the runner evaluates a probe, or nil if a client container does.
func (f *fleet) localProbe(ctx context.Context, name string, p scenarios.Probe) (evaluation, error) {
	match, err := regexp.Compile(p.Match)
	if err != nil {
		return nil, fmt.Errorf("probe %s: match: %w", name, err)
	}
	switch p.Kind {
	case "exec":
		return f.execProbe(p, match), nil
	case "command":
		return commandProbe(f.r.o.Scenario.Origin.Dir, p, match), nil
	case "log":
		return f.logProbe(ctx, name, p, match), nil
	}
	return nil, nil //nolint:nilnil // no local evaluation, and no error
}

func (f *fleet) execProbe(p scenarios.Probe, match *regexp.Regexp) evaluation {
	return func(ctx context.Context) error {
		res, err := f.r.env.Exec(ctx, p.Target, 1, p.Command)
		if err != nil {
			return err
		}
		return holds(res.Code, string(res.Out), match)
	}
}

func commandProbe(dir string, p scenarios.Probe, match *regexp.Regexp) evaluation {
	return func(ctx context.Context) error {
		out, code, err := hostCommand(ctx, dir, p.Command)
		if err != nil {
			return err
		}
		return holds(code, out, match)
	}
}

// hostCommand runs a command on the runner's machine; a command that exits with another code than 0 is no error.
func hostCommand(ctx context.Context, dir string, argv []string) (out string, code int, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return buf.String(), exit.ExitCode(), nil
	}
	return buf.String(), 0, err
}

func holds(code int, out string, match *regexp.Regexp) error {
	if code != 0 {
		return fmt.Errorf("exit code %d: %s", code, lastLine(out))
	}
	if !match.MatchString(out) {
		return fmt.Errorf("output does not match %s", match)
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// logProbe holds if a line that matches came since the last evaluation, or comes before its time-out.
func (f *fleet) logProbe(ctx context.Context, name string, p scenarios.Probe, match *regexp.Regexp) evaluation {
	seen := make(chan struct{}, 1)
	f.local.Go(func() {
		err := f.r.env.FollowLogs(ctx, p.Target, func(line string, _ time.Time) {
			if !match.MatchString(line) {
				return
			}
			select {
			case seen <- struct{}{}:
			default: // one that nobody has asked for yet is enough
			}
		})
		if err != nil && ctx.Err() == nil {
			f.r.say(Event{Kind: EventWarn, Name: name, Text: "follow log: " + err.Error()})
		}
	})
	return func(ctx context.Context) error {
		select {
		case <-seen:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no line matches %s", match)
		}
	}
}
