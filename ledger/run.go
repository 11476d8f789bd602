package ledger

import (
	"encoding/json"
	"math"
	"path"
	"strconv"
	"strings"
)

// Run is run.json: what a run was, next to its ledger. It is written when the run starts and again when it ends.
type Run struct {
	V           int      `json:"v"`
	ID          string   `json:"id"` // 8 hex digits; the label io.discompose.run of everything that the run makes
	Scenario    string   `json:"scenario"`
	Description string   `json:"description"`
	Source      string   `json:"source"` // where the scenario came from
	Args        []string `json:"args"`
	Version     string   `json:"version"`          // of discompose, with commit
	Build       string   `json:"build,omitempty"`  // hash of the executable that clients and agent ran
	Digest      string   `json:"digest,omitempty"` // of the scenario as it was read, without its seed, and of its Compose files; empty where attached
	Seed        int64    `json:"seed"`
	Project     string   `json:"project"`
	Attached    bool     `json:"attached,omitempty"`
	Injected    bool     `json:"injected,omitempty"` // one fault by hand (discompose inject): there are no operations to judge
	Started     string   `json:"started"`            // RFC 3339, wall clock of the runner
	Finished    string   `json:"finished,omitempty"`

	Engine     Engine            `json:"engine"`
	Services   []Service         `json:"services"`             // sorted by name
	Fallbacks  []string          `json:"fallbacks,omitempty"`  // first-line notices: "embedded broker, not Apache Kafka"
	Isolation  []string          `json:"isolation,omitempty"`  // what was changed so that the user's own stack is out of reach
	Mechanisms map[string]string `json:"mechanisms,omitempty"` // fault id → how it was carried out
	APIOnly    string            `json:"api_only,omitempty"`   // why there was no agent; empty with one

	Environment Origin `json:"environment,omitzero"` // whose environment it was; zero: started for this run alone

	Links []Link `json:"links,omitempty"` // what was routed, as it was at the end, sorted by name

	Base         int64   `json:"base"`                // start of the timeline on the host's boot-time clock, ns; 0 if never reached
	BaseWall     int64   `json:"base_wall,omitempty"` // the engine host's wall clock at Base, Unix ns: places log lines on the timeline; 0 if unknown
	ClockErrorNs int64   `json:"clock_error_ns"`      // half the least round trip of the clock mapping: window edges are widened by it
	Phases       []Phase `json:"phases"`

	Rules json.RawMessage `json:"rules"` // oracle.Rules: what the run is judged by, again by `discompose check`
}

// Engine is the Docker engine that the run used.
type Engine struct {
	Endpoint string `json:"endpoint"`
	Version  string `json:"version"`
	API      string `json:"api"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Kernel   string `json:"kernel"`
	Cgroup   string `json:"cgroup"` // "1" or "2"
	Storage  string `json:"storage"`
	CPUs     int    `json:"cpus"`
	Memory   int64  `json:"memory"` // bytes
}

// Origin says where a run's environment came from. The zero value was started for the run, without a word about it.
type Origin struct {
	From     string         `json:"from,omitempty"`     // name of the run directory of the run that started it, where it is used again
	Uses     int            `json:"uses,omitempty"`     // runs that used it before this one
	Restarts map[string]int `json:"restarts,omitempty"` // by container ("web", "web[2]"): restarts by its policy before this run; those without are left out
	Why      string         `json:"why,omitempty"`      // why it is used again, or why it was started afresh though an earlier one was there
}

// Service is one service of the environment as it ran.
type Service struct {
	Name     string `json:"name"`
	Image    string `json:"image"`  // as the Compose file names it
	Digest   string `json:"digest"` // repository digest where the engine knows one, else the image id
	Replicas int    `json:"replicas"`
	Fallback string `json:"fallback,omitempty"` // "embedded": the binary itself served it
}

// Link is one routed link at the end of a run, over all its clients and their restarts. The toxics that it had are the
// faults whose target it is.
type Link struct {
	Name       string      `json:"name"` // "web->db:5432"
	From       string      `json:"from"` // a service, "workload.<name>" or "probes"
	To         string      `json:"to"`   // a service
	Port       int         `json:"port"`
	Clients    int         `json:"clients"`            // client namespaces that it was opened in, restarts counted
	Accepted   int64       `json:"accepted"`           // connections that clients opened through the proxy
	Dialled    int64       `json:"dialled"`            // of these, the ones whose server answered
	DialFailed int64       `json:"dial_failed"`        // and the ones whose server did not
	Dialling   int64       `json:"dialling,omitempty"` // and the ones that were on their way when the run ended
	Direct     int64       `json:"direct"`             // connections let past the proxy on purpose, while a fault had cut the server off
	Arrived    int64       `json:"arrived"`            // new connections that servers counted at their input
	Guarded    int64       `json:"guarded"`            // packets past the proxy that the guard stopped
	Passed     int64       `json:"passed"`             // packets past the proxy that the guard did not stop
	Upstream   int64       `json:"upstream"`           // bytes from clients to servers
	Downstream int64       `json:"downstream"`         // bytes from servers to clients
	Closed     []LinkClose `json:"closed,omitempty"`
	Resets     []LinkReset `json:"resets,omitempty"`
	Unrouted   string      `json:"unrouted,omitempty"` // what of it could not be routed, and why
}

// Leaked is how many connections reached a server past the proxy without a reason. 0 is the proof that nothing did.
func (l Link) Leaked() int64 { return max(0, l.Arrived-l.Dialled-l.DialFailed-l.Dialling-l.Direct) }

// In reports whether the link is one of those that a fault's target names: "web->db:5432" itself, or a group such as
// "*->db:5432" or "workload->kafka:9092". The name of a service has no links.
func (l Link) In(target string) bool {
	from, to, ok := strings.Cut(target, linkArrow)
	service, port, portOK := strings.Cut(to, ":")
	return ok && portOK && port == strconv.Itoa(l.Port) && fits(service, l.To) && l.From != l.To &&
		(fits(from, l.From) || (from == "workload" && strings.HasPrefix(l.From, "workload.")))
}

// linkArrow stands in the name of every link and group of links, and in that of no service.
const linkArrow = "->"

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// LinkClose counts connections that the proxy itself closed. By is a toxic's name, "down", "dial" or "close".
type LinkClose struct {
	By    string `json:"by"`
	How   string `json:"how"` // "fin" or "rst"
	Count int64  `json:"count"`
}

// LinkReset tells of connections that the guard closed.
type LinkReset struct {
	Count int    `json:"count"`
	Why   string `json:"why"`
	At    int64  `json:"at"` // host boot-time clock, ns
}

// Phase is one stage of a run.
type Phase struct {
	Name string `json:"name"`
	From int64  `json:"from"` // host boot-time clock, ns
	To   int64  `json:"to"`   // 0 while it lasts
}

// Traffic is the filter of the operations that rates, latencies and availability are counted of: all but final reads,
// which are those of FuncRead and FuncEnd and whatever else a workload does in the final phase.
func (r Run) Traffic() func(*Op) bool {
	final := int64(math.MaxInt64)
	for _, p := range r.Phases {
		if p.Name == PhaseFinal {
			final = p.From - r.ClockErrorNs
		}
	}
	return func(o *Op) bool {
		return o.Func != FuncRead && o.Func != FuncEnd && (o.Invoke < final || o.Func == FuncProbe || o.Func == FuncPoll)
	}
}

// History is everything that a ledger holds, in memory, each list in the order of time.
type History struct {
	Run       Run
	Ops       []Op // in the order of Invoke; IDs are set
	Faults    []Fault
	Witnesses []Witness
	Events    []Event
	Gates     []Gate
}
