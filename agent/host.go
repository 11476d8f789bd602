package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
)

const cgroupRoot = "/sys/fs/cgroup"

// The operations of the agent on its host. package faults documents them for the kinds; the types below have the same
// JSON.
const (
	OpCgroupRead    = "cgroup.read"
	OpCgroupHold    = "cgroup.hold"
	OpCgroupRelease = "cgroup.release"
	OpSignal        = "proc.signal"
	OpForkProbe     = "proc.fork_probe"
	OpAlive         = "proc.alive"
	OpDescriptors   = "proc.descriptors" // Descriptors → DescriptorsResult

	OpCrashLoop      = "proc.crash_loop"
	OpCrashLoopEnd   = "proc.crash_loop_end"
	OpCrashLoopState = "proc.crash_loop_state"
)

// The operations of the agent itself.
const (
	OpHello   = "hello"   // Hello → HelloResult; the first call on a stream
	OpPing    = "ping"    // nothing → Instant
	OpRenew   = "renew"   // nothing → Instant; renews the lease
	OpJournal = "journal" // Journal → nothing, once the entry is kept
	OpBye     = "bye"     // nothing → nothing: all is undone and removed, the end of the stream is not a death
)

// EventRewritten is emitted with a Rewritten when a held file was written again because the container had got a new
// cgroup or something else had changed the value.
const EventRewritten = "cgroup.rewritten"

// Hello introduces a run to its agent.
type Hello struct {
	Run      string `json:"run"`
	Project  string `json:"project"`
	LeaseMs  int64  `json:"lease_ms"` // 0 keeps the agent's own
	Keep     bool   `json:"keep"`     // leave the environment up
	Attached bool   `json:"attached"` // the project is not the run's own
}

// HelloResult is what the host can do, and the time on its boot-time clock in ns.
type HelloResult struct {
	Facts
	Now int64 `json:"now"`
}

// Instant is the time on the host's boot-time clock in ns.
type Instant struct {
	Now int64 `json:"now"`
}

// Journal carries one journal entry to the agent's copy.
type Journal struct {
	Entry json.RawMessage `json:"entry"`
}

// Facts is what Probe found. The JSON is that of faults.Facts.
type Facts struct {
	CgroupVersion int               `json:"cgroup_version"` // 1 or 2
	Kernel        string            `json:"kernel"`
	Arch          string            `json:"arch"`
	Has           []string          `json:"has"`               // capabilities, as package faults names them
	Missing       map[string]string `json:"missing,omitempty"` // capability → why, and what to do about it
}

// CgroupFile names a file of a container's cgroup.
type CgroupFile struct {
	Container  string `json:"container"`       // full id
	Controller string `json:"controller"`      // "cpu", "memory", "pids", "freezer", "cpuacct"
	File       string `json:"file"`            // "cpu.cfs_quota_us" or "cpu.max"
	Value      string `json:"value,omitempty"` // for hold and release
}

// CgroupValue is the text of a cgroup file without its last newline.
type CgroupValue struct {
	Value string `json:"value"`
}

// Rewritten tells that a held file had another value and has the held one again.
type Rewritten struct {
	CgroupFile
	Was string `json:"was"`
	At  int64  `json:"at"` // host boot-time clock, ns
}

// Signal asks for a signal to a process of a container.
type Signal struct {
	Container string `json:"container"` // full id
	PID       int    `json:"pid"`       // in the host's pid namespace
	Signal    string `json:"signal"`    // "SIGKILL", "KILL" or "9"
}

// CrashLoop asks for a crash loop of a container.
type CrashLoop struct {
	ID        string        `json:"id"`
	Container string        `json:"container"` // full id
	Signal    string        `json:"signal"`    // as in Signal
	Uptime    time.Duration `json:"uptime_ns"` // of each process, before it is killed
	Count     int           `json:"count"`     // kills; 0 is no end
}

// CrashLoopID names a loop.
type CrashLoopID struct {
	ID string `json:"id"`
}

// CrashLoopState is what a loop has done so far.
type CrashLoopState struct {
	Active bool   `json:"active"`           // it goes on
	Kills  int    `json:"kills"`            // processes that ended by its signal
	Starts int    `json:"starts"`           // of the container, after its kills
	Ending int    `json:"ending,omitempty"` // the process that has got its signal and is still there
	Error  string `json:"error,omitempty"`  // why it ended before its time, or does not get on
}

// ForkProbe asks for a fork attempt inside a container's pids cgroup.
type ForkProbe struct {
	Container string `json:"container"` // full id
	Most      int    `json:"most"`      // children to start at the most, up to maxForks
}

// ForkResult is what the fork probe saw.
type ForkResult struct {
	Refused bool `json:"refused"`
	Forked  int  `json:"forked"` // children that were let in before one was refused
}

// Descriptors asks what the processes of a container hold.
type Descriptors struct {
	Container string `json:"container"` // full id
}

// DescriptorsResult is what they hold.
type DescriptorsResult struct {
	Processes int `json:"processes"`
	Open      int `json:"open"`    // descriptors
	Sockets   int `json:"sockets"` // of these
}

// Alive names a process in the host's pid namespace.
type Alive struct {
	PID int `json:"pid"`
}

// AliveResult tells whether a process is there; a zombie is not.
type AliveResult struct {
	Alive bool `json:"alive"`
}

// Inspector is the slice of the engine's API that a Host needs; *client.Client has it.
type Inspector interface {
	ContainerInspect(ctx context.Context, container string) (container.InspectResponse, error)
}

// Call runs one operation of the host in this process, as Conn.Call does over a stream: with it the agent heals by the
// same effects as the runner. The error is a *RemoteError, or the cause of ctx where that ended.
func (h *Host) Call(ctx context.Context, op string, args, out any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("encode %s: %w", op, err)
	}
	got, err := call(ctx, request{Op: op, Args: raw}, h.Ops())
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("call %s: %w", op, context.Cause(ctx))
		}
		return &RemoteError{Op: op, Code: codeOf(err), Text: err.Error()}
	}
	a := answer{}
	if got != nil {
		if a.Out, err = json.Marshal(got); err != nil {
			return fmt.Errorf("encode answer of %s: %w", op, err)
		}
	}
	return a.decode(op, out)
}

// op makes an Op of a function with typed arguments.
func op[A any](f func(ctx context.Context, args A) (any, error)) Op {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &args); err != nil {
				return nil, fmt.Errorf("decode arguments: %w", err)
			}
		}
		return f(ctx, args)
	}
}
