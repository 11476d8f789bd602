package agent

// The operations on containers' networks. They are carried out by a child process of the agent (RoleNet), which owns the
// proxies and the rules: where it ends, by any cause, the rules end with it. Package faults documents net.cut, net.uncut,
// net.cut_state, net.reach and net.peers for the kinds; the types below have the same JSON.
const (
	OpNetStart     = "net.start"     // NetStart → nothing; before the environment is started, and before every other one
	OpNetStop      = "net.stop"      // nothing → nothing, once the child has ended, and every rule and proxied connection with it; the next operation starts another
	OpNetLeft      = "net.left"      // NetLeft → []string, sorted: the tables of earlier runs that a project's namespaces still have
	OpNetLinks     = "net.links"     // nothing → []LinkReport, sorted by name
	OpNetToxiproxy = "net.toxiproxy" // HTTPRequest → HTTPResponse: Toxiproxy's API over the links
	OpNetDirect    = "net.direct"    // Direct → nothing
	OpNetConns     = "net.conns"     // nothing → []Connection, sorted: established TCP connections between the project's containers
	OpCut          = "net.cut"
	OpUncut        = "net.uncut"
	OpCutState     = "net.cut_state"
	OpReach        = "net.reach"
	OpPeers        = "net.peers"
)

// The events of the networks' child.
const (
	EventForeign = "net.foreign" // Foreign: somebody else changed a toxic
	EventReset   = "net.reset"   // LinkReset: the guard closed connections
	EventArmed   = "net.armed"   // Armed: a container's namespace has its rules
	EventNetLost = "net.lost"    // string: the child ended, and with it every rule and every proxied connection
)

// LabelClient is the label of client containers that links and cuts know them by: "workload.<name>" or "probes".
const LabelClient = "io.discompose.client"

// NetStart says what to route.
type NetStart struct {
	Run      string `json:"run"`
	Project  string `json:"project"`
	Seed     int64  `json:"seed"`
	Attached bool   `json:"attached"`
	Afresh   bool   `json:"afresh"` // the project has been running for an earlier run: what is open past the links is closed at once
	Links    []Edge `json:"links"`
}

// NetLeft asks for what is left in a project's namespaces.
type NetLeft struct {
	Project string `json:"project"`
}

// Edge is one link: the TCP connections from the containers of one service, or of one kind of client, to one port of one
// service.
type Edge struct {
	Name string `json:"name"` // "web->db:5432"
	From string `json:"from"` // a service, "workload.<name>" or "probes"
	To   string `json:"to"`   // a service
	Port int    `json:"port"`
}

// HTTPRequest is one request to Toxiproxy's API.
type HTTPRequest struct {
	Method    string `json:"method"`
	Path      string `json:"path"` // with the query
	UserAgent string `json:"user_agent,omitempty"`
	Body      []byte `json:"body,omitempty"`
	Own       bool   `json:"own"` // the run's own; every other change is a foreign one
}

// HTTPResponse is the answer.
type HTTPResponse struct {
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"` // Content-Type
	Body   []byte `json:"body,omitempty"`
}

// Direct says that a fault ends a container's program: while any id is on, and its port is closed, new connections to it
// are not redirected, on links without a toxic.
type Direct struct {
	ID        string `json:"id"` // the record's id
	Container string `json:"container"`
	On        bool   `json:"on"`
}

// Foreign is a change of toxics that did not come from the run.
type Foreign struct {
	Link string `json:"link"`
	What string `json:"what"` // "add latency_downstream (latency)", "remove x", "disable"
	At   int64  `json:"at"`   // host boot-time clock, ns
}

// LinkReset tells of connections that the guard closed.
type LinkReset struct {
	Link  string `json:"link"`
	Count int    `json:"count"`
	Why   string `json:"why"` // "opened before the link was routed", "opened past the proxy while db could not be reached"
	At    int64  `json:"at"`  // host boot-time clock, ns
}

// Armed tells that a container's network namespace has its rules and listeners.
type Armed struct {
	Container string `json:"container"`
	Service   string `json:"service"`
	Late      bool   `json:"late"` // it was found by the engine's events or at the start, not by its new cgroup
	Listeners int    `json:"listeners"`
	At        int64  `json:"at"` // host boot-time clock, ns
}

// LinkReport is what a link did, over all its clients and their restarts.
type LinkReport struct {
	Edge
	State     any         `json:"state"`     // of the proxy: the JSON of faults.LinkState
	Clients   int         `json:"clients"`   // client namespaces that it was opened in
	Redirects int64       `json:"redirects"` // connections that clients' rules sent to the proxy
	Direct    int64       `json:"direct"`    // connections let past the proxy because a fault had cut the server off
	Early     int64       `json:"early"`     // packets of connections that were open before the link was routed
	Guarded   int64       `json:"guarded"`   // packets past the proxy that the guard stopped
	Passed    int64       `json:"passed"`    // packets past the proxy that the guard did not stop; 0 or the link leaks
	Arrived   int64       `json:"arrived"`   // new connections that servers counted at their input
	Resets    []LinkReset `json:"resets"`
	Unrouted  string      `json:"unrouted,omitempty"` // what of it could not be routed, and why
}

// Connection is one established TCP connection inside a project.
type Connection struct {
	From  string `json:"from"` // service, "workload.<name>" or "probes"
	To    string `json:"to"`   // service
	Port  int    `json:"port"`
	Count int    `json:"count"`
}

// Cut asks for a cut between one container and others.
type Cut struct {
	ID        string   `json:"id"`        // the record's id
	Container string   `json:"container"` // full id
	Against   []string `json:"against"`   // services or globs, "workload", "workload.<name>", "probes", or "*"
	In        bool     `json:"in"`        // packets from the others to the container
	Out       bool     `json:"out"`       // packets from the container to the others
	Reject    bool     `json:"reject"`    // answer instead of silence
}

// CutID names a cut.
type CutID struct {
	ID string `json:"id"`
}

// CutCount is what a cut has done so far.
type CutCount struct {
	Active bool  `json:"active"`
	In     int64 `json:"in"`  // packets that it stopped on their way to the container
	Out    int64 `json:"out"` // packets from the container, stopped at the others
}

// Reach asks for datagrams from one container to another: to every address of To in a network that they share, or to
// Addresses, whether To has them or not. Only what reaches To arrives.
type Reach struct {
	From      string   `json:"from"` // full id
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
