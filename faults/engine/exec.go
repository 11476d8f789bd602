package engine

import (
	"context"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/discompose/discompose/faults"
)

var _ faults.Execer = (*Engine)(nil)

// most is how much of a command's output is kept.
const most = 8 << 10

// Exit codes of a command that could not be executed.
const (
	notExecutable = 126
	notFound      = 127
)

// CreateExec makes a command ready in a running container. Errors: faults.ErrGone.
func (e *Engine) CreateExec(ctx context.Context, id string, argv []string) (string, error) {
	created, err := e.docker.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", gone(err)
	}
	return created.ID, nil
}

// RunExec starts a command and waits for its end.
func (e *Engine) RunExec(ctx context.Context, exec string) (faults.Output, error) {
	stream, err := e.docker.ContainerExecAttach(ctx, exec, container.ExecAttachOptions{})
	if err != nil {
		return e.refused(ctx, exec, err)
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close) // unblocks the copy
	defer stop()
	out := &tail{}
	_, err = stdcopy.StdCopy(out, out, stream.Reader)
	switch {
	case ctx.Err() != nil:
		return faults.Output{Text: out.String()}, context.Cause(ctx)
	case err != nil:
		return faults.Output{Text: out.String()}, fmt.Errorf("read output: %w", err)
	}
	for {
		in, err := e.docker.ContainerExecInspect(ctx, exec)
		if err != nil {
			return faults.Output{Text: out.String()}, gone(err)
		}
		if !in.Running { // the stream ends a moment before the engine has the exit code
			return faults.Output{Text: out.String(), Code: in.ExitCode}, nil
		}
		if err := faults.Pause(ctx, 5*time.Millisecond); err != nil {
			return faults.Output{Text: out.String()}, err
		}
	}
}

// refused turns the refusal of a program that cannot be executed into its exit code: engines before version 23 answer it in
// the output instead.
func (e *Engine) refused(ctx context.Context, exec string, reason error) (faults.Output, error) {
	in, err := e.docker.ContainerExecInspect(ctx, exec)
	if err == nil && !in.Running && (in.ExitCode == notExecutable || in.ExitCode == notFound) {
		return faults.Output{Text: reason.Error(), Code: in.ExitCode}, nil
	}
	return faults.Output{}, gone(reason)
}

// Executing is the pid of a command's first process; 0 if it does not run.
func (e *Engine) Executing(ctx context.Context, exec string) (int, error) {
	in, err := e.docker.ContainerExecInspect(ctx, exec)
	if cerrdefs.IsNotFound(err) {
		return 0, nil
	}
	if err != nil || !in.Running {
		return 0, err
	}
	return in.Pid, nil
}

// tail keeps the last bytes that were written to it.
type tail struct{ kept []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*most {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-most:]...)
	}
	return len(p), nil
}

// String is what is kept.
func (t *tail) String() string { return string(t.kept[max(0, len(t.kept)-most):]) }
