package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Env is what a fault may touch. Host is nil where the agent was refused (API-only mode).
type Env struct {
	Engine  Engine
	Host    Host
	Links   Links // nil where nothing can be routed: without an agent, or without the capability CapLinks
	Journal Journal
	// Now reads the engine host's boot-time clock, in ns; nil leaves witnesses without a time.
	Now func() int64
}

// Facts is what the host can do; without an agent only what the API can do.
func (e Env) Facts() Facts {
	if e.Host == nil {
		return Facts{}
	}
	return e.Host.Facts()
}

// Verb is a change that the engine makes to a container's process.
type Verb string

// The verbs. Start of a running and Stop of a stopped container, Pause of a paused and Unpause of a running one
// succeed and change nothing.
const (
	DoPause   Verb = "pause"
	DoUnpause Verb = "unpause"
	DoStart   Verb = "start"
	DoStop    Verb = "stop"
	DoRestart Verb = "restart"
	DoKill    Verb = "kill"
)

// Action is one call to the engine.
type Action struct {
	Verb   Verb
	Grace  time.Duration // stop, restart: before SIGKILL; negative is the container's own
	Signal string        // stop, restart: the container's own where empty; kill: SIGKILL where empty
}

// Engine is the slice of the Docker API that faults need. It is safe for concurrent use.
type Engine interface {
	// Inspect returns ErrGone if there is no such container.
	Inspect(ctx context.Context, container string) (Container, error)
	Do(ctx context.Context, container string, a Action) error
	// Update changes limits through the engine; only limits that are set are changed.
	Update(ctx context.Context, container string, l Limits) error
}

// StatsReader is an Engine that can also read counters of a container; limits need it where there is no agent.
type StatsReader interface {
	Stats(ctx context.Context, container string) (Stats, error)
}

// Stats are counters of a running container, read through the engine. Counters that the engine does not report are 0.
type Stats struct {
	Periods     int64 // of the CPU quota, since the container's start
	Throttled   int64 // of these, the ones in which the quota ran out
	MemoryBytes int64 // in use, page cache included

	InactiveFileBytes int64 // of these, page cache that is easily given back

	MemoryFails int64 // times the memory limit was hit (cgroup version 1 only)
	PIDs        int64 // in use
}

// Networker is an Engine that can also take containers out of networks and put them back.
type Networker interface {
	// Endpoints lists the networks that a container is in now, sorted by name. Errors: ErrGone, and ErrUnsupported for a
	// container without networks of its own (network_mode host, none, service:x, container:x).
	Endpoints(ctx context.Context, container string) ([]Endpoint, error)
	// Disconnect takes a container, running or not, out of a network, by the network's id. It stays out over restarts.
	Disconnect(ctx context.Context, container, network string) error
	// Connect puts a container, running or not, back into the network of an endpoint with its aliases, links and
	// options, and with its addresses where the engine can give them.
	//
	// Disconnect of what is not connected and Connect of what is succeed and change nothing.
	Connect(ctx context.Context, container string, e Endpoint) error
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network   string          `json:"network"`             // id
	Name      string          `json:"name"`                // as the engine has it: "shop_front"
	Key       string          `json:"key,omitempty"`       // as the Compose file has it: "front"; empty where Compose did not make it
	Addresses []string        `json:"addresses,omitempty"` // IPv4 before IPv6, without prefix; none while the container is not running
	Aliases   []string        `json:"aliases,omitempty"`   // sorted, without the container's short id, which the engine adds itself
	Raw       json.RawMessage `json:"raw,omitempty"`       // the engine's settings to connect with; only the engine reads them
}

// ErrGone says that the engine knows no such container.
var ErrGone = errors.New("no such container")

// Limits are the resource limits that the engine keeps for a container. Zero is unset.
type Limits struct {
	CPUPeriod   int64 `json:"cpu_period,omitempty"` // µs
	CPUQuota    int64 `json:"cpu_quota,omitempty"`  // µs
	NanoCPUs    int64 `json:"nano_cpus,omitempty"`  // 1e-9 cores
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	SwapBytes   int64 `json:"swap_bytes,omitempty"` // memory and swap together; -1 is unlimited
	PIDs        int64 `json:"pids,omitempty"`
}

// Container is one observation of a container by the engine.
type Container struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Number        int       `json:"number,omitempty"`   // of a Compose service's replica, from 1; 0 for any other container
	Image         string    `json:"image"`              // as named when it was made
	ImageID       string    `json:"image_id,omitempty"` // what it was made of
	Env           []string  `json:"env,omitempty"`      // "KEY=value", the image's own included
	Entrypoint    []string  `json:"entrypoint,omitempty"`
	Command       []string  `json:"command,omitempty"`
	Record        string    `json:"record,omitempty"` // the record whose changes it was made with (LabelRecord); "" as it was at first
	Running       bool      `json:"running"`          // a paused container is running; one that waits to be restarted is not
	Paused        bool      `json:"paused"`
	Restarting    bool      `json:"restarting"`
	PID           int       `json:"pid"` // of PID 1 in the host's pid namespace; 0 while not running
	ExitCode      int       `json:"exit_code"`
	StartedAt     time.Time `json:"started_at"`  // the engine host's wall clock
	FinishedAt    time.Time `json:"finished_at"` // zero before the first exit
	RestartCount  int       `json:"restart_count"`
	RestartPolicy string    `json:"restart_policy"` // "no", "always", "on-failure", "unless-stopped"
	Health        string    `json:"health"`         // "", "starting", "healthy", "unhealthy"; "" without a healthcheck
	Limits        Limits    `json:"limits"`
}

// Ready reports whether the container runs, is not paused and is healthy where it has a healthcheck.
func (c Container) Ready() bool {
	return c.Running && !c.Paused && !c.Restarting && (c.Health == "" || c.Health == "healthy")
}

// Transient says why the container is no target: it was made for a fault (LabelRecord), and what is done to it goes with it
// when that fault ends. It is nil for any other container.
func (c Container) Transient() error {
	if c.Record == "" {
		return nil
	}
	return fmt.Errorf("it was made for fault %q and goes when that ends", c.Record)
}

// Capability is something that a host can do, found by the agent's probe.
type Capability string

// The capabilities that kinds of this version ask for.
const (
	CapAgent         Capability = "agent"          // the agent runs: host pid namespace and named capabilities
	CapCgroupCPU     Capability = "cgroup-cpu"     // cpu controller, writable
	CapCgroupMemory  Capability = "cgroup-memory"  // memory controller, writable
	CapCgroupPIDs    Capability = "cgroup-pids"    // pids controller, writable
	CapCgroupFreezer Capability = "cgroup-freezer" // freezer, readable
	CapSignal        Capability = "signal"         // may signal processes of containers
	CapPackets       Capability = "packets"        // nftables in containers' network namespaces: drop, reject, counters
	CapLinks         Capability = "links"          // packets, and redirecting connections to the agent's proxies
)

// Facts is what the agent's probe found. The zero value is a host without an agent.
type Facts struct {
	CgroupVersion int                   `json:"cgroup_version"` // 1 or 2
	Kernel        string                `json:"kernel"`
	Arch          string                `json:"arch"`
	Has           []Capability          `json:"has"`
	Missing       map[Capability]string `json:"missing,omitempty"` // capability → why, and what to do about it
}

// Can reports whether the host has a capability.
func (f Facts) Can(c Capability) bool { return slices.Contains(f.Has, c) }

func (f Facts) lacks(needs []Capability) []string {
	var out []string
	for _, n := range needs {
		if f.Can(n) {
			continue
		}
		if why := f.Missing[n]; why != "" {
			out = append(out, fmt.Sprintf("%s (%s)", n, why))
			continue
		}
		out = append(out, string(n))
	}
	return out
}

// Host is the agent's generic door: operations on namespaces, cgroups and processes of containers. It is safe for
// concurrent use.
type Host interface {
	// Call runs one operation of the agent and decodes its answer into out (nil to ignore it).
	Call(ctx context.Context, op string, args, out any) error
	Facts() Facts
}

// The agent's operations that kinds of this version use, with the types of their arguments and answers.
const (
	// OpCgroupRead reads one cgroup file of a container: CgroupFile → CgroupValue.
	OpCgroupRead = "cgroup.read"
	// OpCgroupHold writes one cgroup file and writes it again whenever the container gets a new cgroup, until
	// OpCgroupRelease: CgroupFile → nothing. A second hold of the same file replaces the value. Without a running
	// container it only begins the hold. A value that the kernel refuses is an error with the errno's text in it.
	OpCgroupHold = "cgroup.hold"
	// OpCgroupRelease ends a hold and writes the value (the base) once; without a running container it only ends
	// the hold: CgroupFile → nothing.
	OpCgroupRelease = "cgroup.release"
	// OpSignal sends a signal to PID 1 of a container from the host's pid namespace: Signal → nothing.
	OpSignal = "proc.signal"
	// OpForkProbe starts children inside the container's pids cgroup until one is refused: ForkProbe → ForkResult.
	OpForkProbe = "proc.fork_probe"
	// OpAlive tells whether a process is there: Alive → AliveResult.
	OpAlive = "proc.alive"
	// OpCut drops or rejects packets between a container and its peers, at the receiver's input, from the next packet on;
	// it holds over restarts and changed addresses of either side until OpUncut: Cut → nothing. A second cut of the same id
	// replaces the first.
	OpCut = "net.cut"
	// OpUncut ends a cut; one that is not there is fine: CutID → nothing.
	OpUncut = "net.uncut"
	// OpCutState tells how many packets a cut has stopped: CutID → CutCount. A cut that is not there has Active false.
	OpCutState = "net.cut_state"
	// OpReach sends datagrams between network namespaces of two containers, in one direction, and tells how many
	// arrived: Reach → ReachResult.
	OpReach = "net.reach"
	// OpPeers lists the running containers of the run's project that named services stand for now: Peers → PeerList.
	OpPeers = "net.peers"
)

// Cut asks for a cut between one container and others. Against holds names of services, "workload.<name>" for the client
// containers of one workload, "probes" for the one of the probes, globs (* and ?) over all of these, so that "*" is everything
// else in the project, and "workload" for the client containers of all workloads. Containers that share the network
// namespace of Container are never cut from it.
type Cut struct {
	ID        string   `json:"id"` // the record's id
	Container string   `json:"container"`
	Against   []string `json:"against"`
	In        bool     `json:"in"`     // packets from the others to the container
	Out       bool     `json:"out"`    // packets from the container to the others
	Reject    bool     `json:"reject"` // answer with a TCP reset, or with ICMP "administratively prohibited", instead of silence
}

// CutID names a cut.
type CutID struct {
	ID string `json:"id"`
}

// CutCount is what a cut has done so far. A packet that several cuts stop counts for each of them.
type CutCount struct {
	Active bool  `json:"active"`
	In     int64 `json:"in"`  // packets that it stopped on their way to the container
	Out    int64 `json:"out"` // packets from the container, stopped at the others
}

// Reach asks for datagrams from one container to another: to every address of To in a network that they share, or to
// Addresses, whether To has them or not. Only what reaches To arrives.
type Reach struct {
	From      string   `json:"from"` // container's full id
	To        string   `json:"to"`
	Addresses []string `json:"addresses,omitempty"`
}

// ReachResult counts the datagrams, those that could not leave included. Sent 0 says that the two share no network or have
// the same namespace, or that one of them does not run.
type ReachResult struct {
	Sent    int      `json:"sent"`
	Arrived int      `json:"arrived"`
	Cuts    []string `json:"cuts,omitempty"` // ids of the cuts that stop packets in this direction, sorted
}

// Peers asks for the containers behind names as Cut.Against has them, without the container itself.
type Peers struct {
	Container string   `json:"container"`
	Against   []string `json:"against"`
}

// PeerList lists them, sorted by name.
type PeerList struct {
	Peers []Peer `json:"peers"`
}

// Peer is one running container.
type Peer struct {
	Container string `json:"container"` // full id
	Name      string `json:"name"`      // "kafka2", "web[2]", "workload.orders"
}

// CgroupFile names a file of a container's cgroup. On version 1 the file lies under the controller's own hierarchy.
type CgroupFile struct {
	Container  string `json:"container"`
	Controller string `json:"controller"`      // "cpu", "memory", "pids", "freezer", "cpuacct"
	File       string `json:"file"`            // "cpu.cfs_quota_us" or "cpu.max"
	Value      string `json:"value,omitempty"` // for hold and release
}

// CgroupValue is the text of a cgroup file without its last newline.
type CgroupValue struct {
	Value string `json:"value"`
}

// Signal asks for a signal to a container's PID 1. The agent refuses it unless PID lies in the container's cgroup.
type Signal struct {
	Container string `json:"container"`
	PID       int    `json:"pid"`    // in the host's pid namespace, from Inspect
	Signal    string `json:"signal"` // "SIGKILL"
}

// ForkProbe asks for a fork attempt inside a container's pids cgroup.
type ForkProbe struct {
	Container string `json:"container"`
	Most      int    `json:"most"` // children to start at the most; they end before the answer
}

// ForkResult is what the probe saw.
type ForkResult struct {
	Refused bool `json:"refused"`
	Forked  int  `json:"forked"` // children that were let in before one was refused
}

// Alive names a process in the host's pid namespace.
type Alive struct {
	PID int `json:"pid"`
}

// AliveResult tells whether the process is there; a zombie is not.
type AliveResult struct {
	Alive bool `json:"alive"`
}
