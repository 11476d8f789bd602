package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

// Exit codes of a program that cannot be executed.
const (
	notExecutable = 126
	notFound      = 127
)

// errTimeout says that a command ran for longer than it may.
var errTimeout = errors.New("it took too long")

// run runs a command in the target; one that takes too long is killed. starting is told its id before anything runs; it may
// be nil.
func (s site) run(ctx context.Context, argv []string, starting func(id string) error) (faults.Output, error) {
	id, err := s.x.CreateExec(ctx, s.on.Container, argv)
	if err == nil && starting != nil {
		err = starting(id)
	}
	if err != nil {
		return faults.Output{}, fmt.Errorf("run %s in %s: %w", quote(argv), s.on, err)
	}
	within, cancel := context.WithTimeoutCause(ctx, s.Timeout, errTimeout)
	defer cancel()
	out, err := s.x.RunExec(within, id)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(context.Cause(within), errTimeout):
		err = fmt.Errorf("%w: it has not ended after %s%s", errTimeout, s.Timeout, said(out))
		return out, fmt.Errorf("run %s in %s: %w", quote(argv), s.on, errors.Join(err, s.kill(ctx, id)))
	}
	return out, fmt.Errorf("run %s in %s: %w", quote(argv), s.on, err)
}

// must runs a command that has to exit with 0.
func (s site) must(ctx context.Context, argv []string, starting func(id string) error) error {
	out, err := s.run(ctx, argv, starting)
	if err == nil && out.Code != 0 {
		err = &exitError{fmt.Sprintf("%s in %s exits with %d%s", quote(argv), s.on, out.Code, said(out))}
	}
	return err
}

// exitError says that a command ended, and not with 0.
type exitError struct{ text string }

func (e *exitError) Error() string { return e.text }

// kill ends a command's first process, where there is an agent: the engine itself has no call for that.
func (s site) kill(ctx context.Context, exec string) error {
	pid, err := s.x.Executing(ctx, exec)
	if err != nil || pid == 0 || s.env.Host == nil {
		return err
	}
	err = s.env.Host.Call(ctx, faults.OpSignal, faults.Signal{Container: s.on.Container, PID: pid, Signal: "SIGKILL"}, nil)
	if err == nil {
		return nil
	}
	if pid, ierr := s.x.Executing(ctx, exec); ierr == nil && pid == 0 {
		return nil // it has ended meanwhile
	}
	return fmt.Errorf("kill process %d of %s: %w", pid, s.on, err)
}

// finish waits for the end of a command, and kills it after its time.
func (s site) finish(ctx context.Context, exec string) error {
	killed := false
	for waited := time.Duration(0); ; waited += look {
		pid, err := s.x.Executing(ctx, exec)
		switch {
		case err != nil:
			return fmt.Errorf("look for the command of %s: %w", s.on, err)
		case pid == 0:
			return nil
		case killed && waited > s.Timeout+look:
			return fmt.Errorf("%s still runs in %s, as process %d", quote(s.Apply), s.on, pid)
		case waited >= s.Timeout:
			if err := s.kill(ctx, exec); err != nil {
				return err
			}
			killed = true
		}
		if err := faults.Pause(ctx, look); err != nil {
			return err
		}
	}
}

// answer is what the witness said.
type answer struct {
	holds bool
	text  string
}

func (a answer) String() string { return a.text }

// witness runs the witness command. An error that wraps ErrNoWitness says that it could not run to its end, so that it
// proves neither.
func (s site) witness(ctx context.Context) (answer, error) {
	out, err := s.run(ctx, s.Witness, nil)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, faults.ErrGone)):
		return answer{}, err
	case err != nil: // it took too long, or the target has just ended
		return answer{}, fmt.Errorf("%w: %w", faults.ErrNoWitness, err)
	}
	text := fmt.Sprintf("%s in %s exits with %d%s", quote(s.Witness), s.on, out.Code, said(out))
	switch {
	case out.Code == notExecutable || out.Code == notFound:
		return answer{}, fmt.Errorf("%w: the witness cannot run: %s", faults.ErrNoWitness, text)
	case out.Code != 0:
		return answer{false, text}, nil
	case s.Matches == "":
		return answer{true, text}, nil
	case s.text.MatchString(out.Text):
		return answer{true, text + ", which matches " + s.Matches}, nil
	}
	return answer{false, text + ", which does not match " + s.Matches}, nil
}

const (
	quoted = 80  // characters of a command in a text
	lines  = 3   // last lines of its output
	shown  = 300 // characters of them
)

// quote is a command for people.
func quote(argv []string) string {
	text := strings.Join(strings.Fields(strings.Join(argv, " ")), " ")
	if r := []rune(text); len(r) > quoted {
		text = string(r[:quoted-1]) + "…"
	}
	return "`" + text + "`"
}

// said is the last lines of a command's output.
func said(out faults.Output) string {
	all := strings.FieldsFunc(strings.ToValidUTF8(out.Text, "?"), func(r rune) bool { return r == '\n' || r == '\r' })
	text := strings.TrimSpace(strings.Join(all[max(0, len(all)-lines):], " / "))
	if text == "" {
		return ""
	}
	if r := []rune(text); len(r) > shown {
		text = "…" + string(r[len(r)-shown+1:])
	}
	return ": " + text
}
