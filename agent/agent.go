// Package agent provides the privileged role of a run, its image, and the stream over which a runner talks to it and
// to client containers.
//
// The runner loads an image that holds its own executable (EnsureImage), starts the agent and the clients from it
// (StartAgent, StartClient) and gets a Conn for each: JSON lines over the container's attach stream, no port. Inside
// the container the same executable serves that stream (ServeAgent, or a Server for a client). The end of the stream
// is the dead man's switch: the agent then undoes what its copy of the journal still owes, and ends.
//
//	runner                          engine                     container
//	Conn.Call ── {"id","op"} ──▶ attach: stdin  ───────▶ Server: one goroutine per request
//	          ◀─ {"id","out"} ── attach: stdout ◀─────── answers and events, one line each
//	Stderr    ◀──────── text ─── attach: stderr ◀─────── logs
//
// Both ends are the same build, so the protocol has no version. Conn, Server and Host are safe for concurrent use. The
// package imports nothing of this module; what it does to containers is asked for by name and JSON, as faults.Host
// documents it.
package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The labels that everything this package makes carries.
const (
	LabelRun     = "io.discompose.run"     // the run's id
	LabelRole    = "io.discompose.role"    // RoleAgent or RoleClient
	LabelProject = "io.discompose.project" // the Compose project that the run works on
	LabelDir     = "io.discompose.dir"     // absolute path of the run directory, on the runner's host
	LabelImage   = "io.discompose.image"   // of images: the hash that identifies them
)

// The roles of the executable in containers, which are also the commands that start them.
const (
	RoleAgent     = "agent"
	RoleClient    = "client"
	RoleForkProbe = "fork-probe" // hidden: the agent runs itself with it, see ForkProbeMain
	RoleNet       = "net"        // hidden: the agent's child that owns proxies and rules
)

// Conditions that callers test with errors.Is, on both ends of a stream.
var (
	ErrLost       = errors.New("stream lost")              // the stream ended before the answer
	ErrGone       = errors.New("no such container")        // the engine knows no such container
	ErrNotRunning = errors.New("container is not running") // it has no process and no cgroup now
	ErrUnknownOp  = errors.New("unknown operation")        // the remote side does not serve it
	ErrNotHere    = errors.New("only on Linux")            // a host operation in a build for another system
)

// RemoteError is the error with which the remote side answered a request. It matches the sentinels of this package
// and the syscall.Errno that caused it.
type RemoteError struct {
	Op   string // the operation
	Code string // "gone", "not-running", "unknown-op", an errno's name ("EBUSY"), or empty
	Text string // the whole error as the remote side wrote it
}

// Error is the operation and the remote text.
func (e *RemoteError) Error() string { return e.Op + ": " + e.Text }

// Is reports whether the remote error was, or was caused by, target.
func (e *RemoteError) Is(target error) bool {
	var errno syscall.Errno
	if errors.As(target, &errno) {
		return e.Code != "" && e.Code == unix.ErrnoName(errno)
	}
	for _, c := range codes() {
		if target == c.err {
			return e.Code == c.code
		}
	}
	return false
}

type errCode struct {
	code string
	err  error
}

func codes() []errCode {
	return []errCode{{"gone", ErrGone}, {"not-running", ErrNotRunning}, {"unknown-op", ErrUnknownOp}, {"not-here", ErrNotHere}}
}

// codeOf is the code under which an error crosses the stream.
func codeOf(err error) string {
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return ""
}

// Event is one message that the remote side sent by itself. Data is a copy: the receiver may keep it.
type Event struct {
	Name string
	Data json.RawMessage
}

// short is the part of a container's id that people know it by.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// oneLine makes text from elsewhere fit into an error of one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
