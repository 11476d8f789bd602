package compose

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Process is a command that runs in a container.
type Process struct {
	In  io.WriteCloser // its standard input; Close ends it, so that the command reads to its end
	Out io.Reader      // its standard output
	// Wait is called when Out has ended: the exit code, and the last of standard error.
	Wait func() (code int, stderr string, err error)
}

// Launch runs a command in a running container of a service, with its standard input and output. Once ctx has ended, both
// are closed; the engine has no call that ends a command, so one that does not mind goes on in the container.
func (e *Environment) Launch(ctx context.Context, service string, number int, argv, env []string) (*Process, error) {
	c, err := e.Container(ctx, service, number)
	if err != nil {
		return nil, err
	}
	d := e.engine.docker
	created, err := d.ContainerExecCreate(ctx, c.ID, container.ExecOptions{Cmd: argv, Env: env, AttachStdin: true, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return nil, fmt.Errorf("exec %v in %s: %w", argv, c, err)
	}
	stream, err := d.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("exec %v in %s: %w", argv, c, err)
	}
	out, feed := io.Pipe()
	stderr := &last{most: 8 << 10}
	go func() {
		_, err := stdcopy.StdCopy(feed, stderr, stream.Reader)
		feed.CloseWithError(err) // it returns nil
	}()
	stop := context.AfterFunc(ctx, func() {
		stream.Close()
		feed.CloseWithError(context.Cause(ctx)) // as above
	})
	wait := func() (int, string, error) {
		defer stop()
		defer stream.Close()
		code, err := e.exitCode(ctx, created.ID)
		return code, stderr.String(), err
	}
	return &Process{In: execInput{stream.Conn, stream.CloseWrite}, Out: out, Wait: wait}, nil
}

// exitCode waits for the end of a command whose output has ended: the stream ends a moment before the engine has the code.
func (e *Environment) exitCode(ctx context.Context, id string) (int, error) {
	for {
		i, err := e.engine.docker.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, err
		}
		if !i.Running {
			return i.ExitCode, nil
		}
		if !wait(ctx, 10*time.Millisecond) {
			return 0, context.Cause(ctx)
		}
	}
}

// execInput is the standard input of a command.
type execInput struct {
	io.Writer
	end func() error
}

// Close implements io.Closer.
func (i execInput) Close() error { return i.end() }

// last keeps the last bytes that are written to it, by one writer, which has ended before they are read.
type last struct {
	bytes.Buffer
	most int
}

// Write implements io.Writer.
func (l *last) Write(p []byte) (int, error) {
	l.Buffer.Write(p)
	if over := l.Len() - l.most; over > 0 {
		l.Next(over)
	}
	return len(p), nil
}
