package faults

import "time"

// The agent's operations on crash loops. A loop needs no round trip between two kills, and ends with its agent.
const (
	// OpCrashLoop kills PID 1 of a container from the host's pid namespace, now and each time that it has been started
	// again, until OpCrashLoopEnd or Count kills: CrashLoop → nothing. It kills no process that the engine does not call
	// running, and none that is frozen. A second loop of the same id replaces the first.
	OpCrashLoop = "proc.crash_loop"
	// OpCrashLoopEnd ends a loop; one that is not there is fine. When it has answered, the loop sends no signal any more:
	// CrashLoopID → nothing.
	OpCrashLoopEnd = "proc.crash_loop_end"
	// OpCrashLoopState tells what a loop has done, one that has ended included: CrashLoopID → CrashLoopState. Of a loop
	// that this agent has never had it is the zero value.
	OpCrashLoopState = "proc.crash_loop_state"
)

// CrashLoop asks for a crash loop of a container.
type CrashLoop struct {
	ID        string        `json:"id"` // the record's id
	Container string        `json:"container"`
	Signal    string        `json:"signal"`    // "SIGKILL"
	Uptime    time.Duration `json:"uptime_ns"` // how long each process runs before it is killed; 0: it is killed at once
	Count     int           `json:"count"`     // kills; 0 is no end
}

// CrashLoopID names a loop.
type CrashLoopID struct {
	ID string `json:"id"`
}

// CrashLoopState is what a loop has done so far.
type CrashLoopState struct {
	Active bool `json:"active"` // it goes on: it will kill again, or waits for the start after its last kill
	Kills  int  `json:"kills"`  // processes that ended by its signal
	Starts int  `json:"starts"` // of the container, after its kills
	// Ending is the process that has got its signal and is still there; 0 if there is none.
	Ending int `json:"ending,omitempty"`
	// Error is why it ended before its time, or why it does not get on; empty if all is well.
	Error string `json:"error,omitempty"`
}
