package ledger

import "encoding/json"

// Run is run.json: what a run was, next to its ledger. It is written when the run starts and again when it ends.
type Run struct {
	V           int      `json:"v"`
	ID          string   `json:"id"` // 8 hex digits; the label io.discompose.run of everything that the run makes
	Scenario    string   `json:"scenario"`
	Description string   `json:"description"`
	Source      string   `json:"source"` // where the scenario came from
	Args        []string `json:"args"`
	Version     string   `json:"version"` // of discompose, with commit
	Seed        int64    `json:"seed"`
	Project     string   `json:"project"`
	Attached    bool     `json:"attached,omitempty"`
	Started     string   `json:"started"` // RFC 3339, wall clock of the runner
	Finished    string   `json:"finished,omitempty"`

	Engine     Engine            `json:"engine"`
	Services   []Service         `json:"services"`             // sorted by name
	Fallbacks  []string          `json:"fallbacks,omitempty"`  // first-line notices: "embedded broker, not Apache Kafka"
	Isolation  []string          `json:"isolation,omitempty"`  // what was changed so that the user's own stack is out of reach
	Mechanisms map[string]string `json:"mechanisms,omitempty"` // fault id → how it was carried out
	APIOnly    string            `json:"api_only,omitempty"`   // why there was no agent; empty with one

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

// Service is one service of the environment as it ran.
type Service struct {
	Name     string `json:"name"`
	Image    string `json:"image"`  // as the Compose file names it
	Digest   string `json:"digest"` // repository digest where the engine knows one, else the image id
	Replicas int    `json:"replicas"`
	Fallback string `json:"fallback,omitempty"` // "embedded": the binary itself served it
}

// Phase is one stage of a run.
type Phase struct {
	Name string `json:"name"`
	From int64  `json:"from"` // host boot-time clock, ns
	To   int64  `json:"to"`   // 0 while it lasts
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
