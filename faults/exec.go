package faults

import "context"

// Execer is an Engine that can also run commands in containers.
type Execer interface {
	// CreateExec makes a command ready in a running container that is not paused; nothing runs yet. Errors: ErrGone.
	CreateExec(ctx context.Context, container string, argv []string) (id string, err error)
	// RunExec starts the command and waits for its end. An exit code is no error; a program that cannot be executed has 126
	// or 127, as in a shell. Where ctx ends first the error is its cause, and the command goes on: no engine has a call that
	// ends one.
	RunExec(ctx context.Context, id string) (Output, error)
	// Executing is the command's first process, in the host's pid namespace; 0 if it was not started, has ended, or is not
	// known.
	Executing(ctx context.Context, id string) (pid int, err error)
}

// Output is what a command left.
type Output struct {
	Text string // standard output and standard error, as they came: the last 8 KiB
	Code int    // exit code
}
