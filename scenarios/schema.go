// Package scenarios provides the scenario language: its types, the strict parser, validation against a Compose file, and
// the catalogue of shipped scenarios.
//
// The types of this file are the contract: docs/reference/scenario.md and the JSON Schema are generated from them and
// from their tags: `doc`, `default`, `required:"true"`, `enum` (values separated by |) and `planned` (values of later
// versions; "*" where the whole key is one), `phase:"yes"` (a driver's option that may change in a phase). A parsed Scenario is read-only and safe for concurrent use. The package
// reads the file systems that it is given; only Find and List touch the disk. It imports no Docker and no Compose.
package scenarios

import (
	"slices"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
)

// Scenario is one scenario file with its includes merged in.
type Scenario struct {
	Name        string              `toml:"name" doc:"the scenario's name; equal to the file's name without .toml"`
	Description string              `toml:"description" doc:"what happens and what must hold, in a sentence or two"`
	Tags        []string            `toml:"tags" doc:"words for run --tag"`
	Seed        *int64              `toml:"seed" doc:"fixes random targets, times and the workload's keys; without one a seed is drawn and reported"`
	Include     []string            `toml:"include" doc:"files with shared tables, relative to this one; a key defined twice is an error"`
	Environment Environment         `toml:"environment" doc:"the Compose environment that the scenario runs on"`
	Setup       []Step              `toml:"setup" doc:"commands to run before the workload starts: migrations, seed data"`
	Teardown    []Step              `toml:"teardown" doc:"commands to run after the checks, before the environment is taken down"`
	Workload    map[string]Workload `toml:"workload" doc:"clients that send operations and record what was acknowledged; the table's name is the workload's"`
	Probe       map[string]Probe    `toml:"probe" doc:"the steady-state hypothesis, evaluated before, during and after each fault; an evaluation is an operation too"`
	Fault       []Fault             `toml:"fault" doc:"the faults, on a timeline that starts when the workload is steady"`
	Recovery    Recovery            `toml:"recovery" doc:"how the run waits after the last heal"`
	Expect      Expect              `toml:"expect" doc:"what the scenario expects of the system"`
	Budget      []Budget            `toml:"budget" doc:"how many operations may fail, and how long they may take, before, during and after faults"`
	Check       []Check             `toml:"check" doc:"checkers over the ledger"`
	Steady      Steady              `toml:"steady" doc:"what counts as a steady state before the first fault"`
	Guard       Guard               `toml:"guard" doc:"operations that each fault's window needs before, inside and after it, so that no pass is vacuous"`
	Link        []Link              `toml:"link" doc:"TCP connections to route through the proxy; without any: those that link faults and workloads use"`
	Nemesis     *Nemesis            `toml:"nemesis" doc:"a random schedule of faults from the seed, beside or instead of [[fault]]"`

	// Origin is where the scenario came from.
	Origin Origin `toml:"-"`
	// Places maps each key as errors write it ("fault[0].for") to where it stands, for annotations on its line.
	Places map[string]Place `toml:"-"`
}

// Origin locates a scenario.
type Origin struct {
	Path    string // as given, or "shipped:kafka_broker_pause.toml"
	Dir     string // folder that relative paths are resolved against; "" for a shipped scenario
	Shipped bool
	Source  []byte // the file verbatim
}

// Environment names the Compose files and how they are started.
type Environment struct {
	Use      string            `toml:"use" doc:"a shipped environment; instead of files and attach"`
	Files    []string          `toml:"files" doc:"Compose files, relative to the scenario, merged in order"`
	Profiles []string          `toml:"profiles" doc:"Compose profiles to enable"`
	Env      map[string]string `toml:"env" doc:"variables for interpolation in the Compose files"`
	EnvFile  []string          `toml:"env_file" doc:"files with such variables, relative to the scenario"`
	Ready    units.Duration    `toml:"ready" default:"120s" doc:"deadline for every service to be running and healthy"`
	Share    []string          `toml:"share" doc:"items that isolation leaves as they are: \"volume:name\", \"bind:/path\", \"network:name\", \"port:service\", \"logging:service\", \"container:name\""`
	Publish  []string          `toml:"publish" doc:"ports that the host may reach: \"web:8080\""`
	Fallback *bool             `toml:"fallback" default:"true" doc:"whether a shipped environment may use its embedded default for an image that cannot be had"`
	Fresh    *bool             `toml:"fresh" default:"true" doc:"start the environment anew for this scenario. false: where several scenarios are run in one call, it may use the environment of one before it, or leave its own to one after it, if their environment tables are equal, both say false, the earlier one passed, and every container stands as it was started. Volumes keep what was written, what the workload wrote is taken away, setup steps run again, and services that the runner reads (label io.discompose.ops) start anew; a scenario with a setup step that has before uses none"`
	Attach   string            `toml:"attach" doc:"a running Compose project to use instead; nothing is created, recreated or removed in it"`
}

// Step is one command of the setup or the teardown.
type Step struct {
	Service string         `toml:"service" doc:"exec in this service, once it is ready; alone, without exec: run it as a one-shot service"`
	Exec    []string       `toml:"exec" doc:"the command to run in the service"`
	Command []string       `toml:"command" doc:"a command on the host, in the scenario's folder; instead of service"`
	Before  []string       `toml:"before" doc:"services that start only after this step"`
	Timeout units.Duration `toml:"timeout" default:"60s" doc:"after which the step has failed"`
}

// Workload is one group of clients.
type Workload struct {
	Driver     string         `toml:"driver" required:"true" enum:"etcd|exec|http|kafka|nats|postgres|rabbitmq|redis|s3" doc:"what the clients speak"`
	Target     string         `toml:"target" required:"true" doc:"service:port"`
	Clients    int            `toml:"clients" default:"1" doc:"concurrent clients in one client container; objects (driver s3, and http with model = \"objects\") have 24 by default"`
	Containers int            `toml:"containers" default:"1" doc:"client containers to spread the clients over"`
	Rate       float64        `toml:"rate" default:"0" doc:"operations per second over all clients; 0: as fast as answers come"`
	Timeout    units.Duration `toml:"timeout" default:"30s" doc:"after which an operation that has not returned counts as unknown"`
	Options    any            `toml:"options" doc:"the driver's own table"`
	Phase      []Phase        `toml:"phase" doc:"what changes while the workload runs: each phase lasts until the next one, the last until the workload ends, and before the first one the workload is as its own keys say. One that the run does not reach, or in which too little is sent (see guard.operations), makes the run inconclusive (too-few-operations)"`
}

// Phase is a part of a workload's time.
type Phase struct {
	At      units.Duration `toml:"at" required:"true" doc:"when it begins, since the workload began to send, which is before the steady state and so before the timeline of the faults; later than the phase before"`
	Rate    float64        `toml:"rate" doc:"operations per second over all clients from then on; default: as before. A workload of rate 0 stays as fast as answers come"`
	Options any            `toml:"options" doc:"the keys of the workload's options that differ in this phase (weights, which keys get the operations: those of which the driver's table says so); every other key is as in the workload's own options, whatever a phase before says"`

	// Changes are the keys that Options holds, as TOML would have them: "keys.skew = 2", sorted. Options itself is the driver's whole
	// table in the phase, like Workload.Options, and nil where there are no Changes.
	Changes []string `toml:"-"`
}

// Probe is one bounded observation, repeated.
type Probe struct {
	Kind    string         `toml:"kind" required:"true" enum:"tcp|http|exec|command|log" planned:"sql|redis|kafka" doc:"tcp: connect; http: request; exec: a command in a service; command: a command on the host; log: a line in a service's log"`
	Target  string         `toml:"target" doc:"tcp: service:port; http: a URL whose host is a service; exec and log: a service"`
	Every   units.Duration `toml:"every" default:"1s" doc:"time between two evaluations; the next starts even if the last has not returned"`
	Timeout units.Duration `toml:"timeout" default:"2s" doc:"after which an evaluation has failed"`
	During  string         `toml:"during" default:"may-fail" enum:"must-hold|may-fail|must-fail" doc:"what is expected of it inside a fault's window"`
	Method  string         `toml:"method" default:"GET" doc:"http: the method"`
	Body    string         `toml:"body" doc:"http: the request's body"`
	Status  []int          `toml:"status" default:"[200]" doc:"http: the codes that hold"`
	Match   string         `toml:"match" doc:"http, exec, command, log: a regular expression that the body, output or a new line must match"`
	Command []string       `toml:"command" doc:"exec, command: the command; it holds if it exits 0 and match matches"`
}

// Fault is one entry of the timeline. The keys of its kind stand in the same table; see docs/reference/faults.md.
type Fault struct {
	ID         string          `toml:"id" doc:"a name for after, reports and heal; default: the kind, or kind-2 and so on"`
	Kind       faults.Kind     `toml:"kind" required:"true" doc:"what happens; discompose faults lists the kinds"`
	Target     Targets         `toml:"target" required:"true" doc:"a service, service[2], a link \"web->db:5432\", a glob (* and ?), or a list of these"`
	At         *units.Duration `toml:"at" doc:"when it starts, from the start of the timeline; with after: from the end of that fault"`
	After      string          `toml:"after" doc:"start when the fault of this id has ended"`
	For        *units.Duration `toml:"for" doc:"how long it holds, from its confirmed witness; instantaneous kinds reject it"`
	Every      units.Duration  `toml:"every" doc:"repeat it, from start to start; with times"`
	Times      int             `toml:"times" doc:"how often; with every"`
	Pick       string          `toml:"pick" default:"all" enum:"one|minority|majority|all|leader|follower|query" doc:"which of the target's containers, or single links: chosen by the seed; or by query when the fault is due: leader is the one that it names, follower one of the others, by the seed, and query every one for which it holds, or which it names"`
	Query      *Query          `toml:"query" doc:"what pick = \"leader\", \"follower\" and \"query\" mean"`
	Gate       []Gate          `toml:"gate" doc:"kinds that roll over their targets: what must hold, beside the last target being ready, before the next, within recovery.within; as in [nemesis]. A gate that does not hold in time ends the rolling, and the run fails as hang"`
	ObservedBy []string        `toml:"observed_by" doc:"the workloads and probes whose operations must span the window; default: all"`

	// Params are the kind's own keys, decoded into its type.
	Params faults.Fault `toml:"-"`
	// Spec is the kind.
	Spec faults.Spec `toml:"-"`
	// Line is the table's line in the file, from 1.
	Line int `toml:"-"`
}

// Targets is a list of targets; in TOML one string stands for a list of one.
type Targets []string

// Recovery is how the run waits after the last heal.
type Recovery struct {
	Within units.Duration `toml:"within" default:"30s" doc:"after the last heal: probes hold and the workload succeeds again, or the run fails as hang"`
}

// Expect is what the scenario expects of the system. Zero values expect nothing.
type Expect struct {
	Verdict          string          `toml:"verdict" default:"pass" doc:"pass, or a class: the scenario asserts that this weakness is found"`
	Availability     *float64        `toml:"availability" doc:"least share of operations that succeed over the run, in [0,1]"`
	ErrorsOnlyDuring string          `toml:"errors_only_during" enum:"faults" doc:"faults: an error outside a fault's window and its recovery fails the run"`
	MaxRecovery      *units.Duration `toml:"max_recovery" doc:"longest time from the end of a fault until the workload succeeds again"`
	MinRate          *float64        `toml:"min_rate" doc:"least acknowledged operations per second inside each fault's window, over all workloads"`
	Crashes          []string        `toml:"crashes" doc:"services that may exit and come back by their restart policy"`
	Leak             *Leak           `toml:"leak" doc:"what must come back after the faults: each container is measured before the first one and, while the workload goes on, after recovery; what is still held recovery.within after the last heal has leaked"`
}

// Leak is how much more a container may hold after the faults than before them.
type Leak struct {
	Descriptors int `toml:"descriptors" required:"true" doc:"descriptors (files, sockets, pipes) of all its processes together"`
}

// Budget bounds the operations of one phase; the run fails as unavailable where they are out of it. Latencies are those of
// operations that succeeded, from their planned instant on.
type Budget struct {
	Phase        string          `toml:"phase" required:"true" enum:"before|during|after|run" doc:"of a fault: before (as long as its window, from the start of the timeline on at the earliest), during, after (until the next fault, or the end of recovery); run: from the start of the timeline to the end of recovery"`
	Fault        string          `toml:"fault" doc:"the id of a [[fault]]; default: each fault for itself. Not with phase = \"run\""`
	Workload     string          `toml:"workload" doc:"a workload or a probe; default: each workload for itself, or each probe where there is none"`
	Availability *float64        `toml:"availability" doc:"least share of operations that succeed, in [0,1]"`
	P50          *units.Duration `toml:"p50" doc:"longest median latency"`
	P99          *units.Duration `toml:"p99" doc:"longest latency of 99 of 100 operations"`
	Max          *units.Duration `toml:"max" doc:"longest latency"`
	Recovery     *units.Duration `toml:"recovery" doc:"phase = \"after\": longest time from the end of the fault to the first success after which no failure came for a second"`
}

// Check is one checker over the ledger.
type Check struct {
	Kind     string         `toml:"kind" required:"true" enum:"append|bank|counter|log|objects|queue|register|set|unique-ids" doc:"what it promises; see the kinds of checks"`
	Workload string         `toml:"workload" required:"true" doc:"whose operations it judges"`
	Timeout  units.Duration `toml:"timeout" default:"60s" doc:"after which its verdict is checker-unknown"`
	// Options are those of its kind, as a pointer to the oracle's checker; nil without the table.
	Options any `toml:"options" doc:"the kind's own table"`
}

// Steady is what counts as a steady state before the first fault.
type Steady struct {
	Within     units.Duration `toml:"within" default:"60s" doc:"deadline; missed, the run is inconclusive (no-steady-state)"`
	For        units.Duration `toml:"for" default:"5s" doc:"how long all probes must hold and no operation may fail"`
	Operations int            `toml:"operations" default:"20" doc:"completed operations that each workload needs in that time"`
}

// Guard is how many operations each window needs before, inside and after it, and each phase of a workload.
type Guard struct {
	Operations int `toml:"operations" default:"20" doc:"invoked by each observing workload; where only probes observe, over all of them. Each phase of a workload needs as many, or half of those that its rate plans in it, where that is fewer"`
	Probes     int `toml:"probes" default:"5" doc:"evaluations of each observing probe beside a workload"`
}

// Link is one route through the proxy.
type Link struct {
	From string `toml:"from" required:"true" doc:"a service or a glob, \"workload\" for the clients of all workloads, \"workload.<name>\" for those of one, \"probes\", or \"*\" for all but the other side"`
	To   string `toml:"to" required:"true" doc:"service:port"`
}

// Query is the user's own command that says which containers a fault is aimed at.
type Query struct {
	Exec    []string `toml:"exec" required:"true" doc:"a command to run in the target's containers, one after the other, until one answers: it exits 0, and its output matches; for pick = \"query\" without service, in all of them"`
	Matches string   `toml:"matches" doc:"a regular expression over its output; without one, every output does"`
	Service string   `toml:"service" doc:"what a match names, as in \"kafka$1\" or \"kafka[$1]\", where $1 is the first group: the leader, by the first match, or, for pick = \"query\", a target by each; without it, the container that answers is the leader, or a target"`
}

// Nemesis is a random schedule of faults: which, on what and when follows from the seed.
type Nemesis struct {
	Count     int              `toml:"count" doc:"how many faults; or time_limit"`
	TimeLimit *units.Duration  `toml:"time_limit" doc:"time from the start of the timeline after which none starts; instead of count"`
	Interval  []units.Duration `toml:"interval" required:"true" doc:"least and longest time between the end of one and the start of the next, and before the first; each is drawn from between"`
	AtOnce    int              `toml:"at_once" default:"1" doc:"how many may be active at once: so many rows of faults run side by side, and draw different targets where there are enough"`
	Gate      []Gate           `toml:"gate" doc:"what must hold before the next, within recovery.within of the end of the one before: probes by name (\"probe.metadata\"), and tables { service, exec, matches } of a command that must exit 0 in a service, and what its output must match (asked once the gates before it hold). A kind that rolls over its targets waits for them before each, too. A gate that does not hold in time ends the nemesis, and the run fails as hang"`
	Fault     []NemesisFault   `toml:"fault" required:"true" doc:"the faults to draw from"`
}

// Gate is a probe by its name ("probe.metadata"), or a query.
type Gate struct {
	Probe string // with "probe."; empty for a query
	Query GateQuery
}

// GateQuery is a condition that a command in a service tells.
type GateQuery struct {
	Service string   `toml:"service" required:"true" doc:"where to run the command: a service, or service[2]"`
	Exec    []string `toml:"exec" required:"true" doc:"the command; it holds if it exits 0 and matches matches"`
	Matches string   `toml:"matches" doc:"a regular expression over its output"`
}

// NemesisFault is one fault to draw, with the keys of its kind in the same table.
type NemesisFault struct {
	Weight     int             `toml:"weight" default:"1" doc:"how often it is drawn, relative to the others"`
	Kind       faults.Kind     `toml:"kind" required:"true" doc:"what happens; discompose faults lists the kinds"`
	Target     Targets         `toml:"target" required:"true" doc:"as in [[fault]]"`
	For        *units.Duration `toml:"for" doc:"how long it holds, from its confirmed witness; instantaneous kinds reject it"`
	Pick       string          `toml:"pick" default:"all" enum:"one|minority|majority|all|leader|follower|query" doc:"as in [[fault]]; chosen anew each time"`
	Query      *Query          `toml:"query" doc:"as in [[fault]]"`
	ObservedBy []string        `toml:"observed_by" doc:"as in [[fault]]"`

	// Params are the kind's own keys, decoded into its type.
	Params faults.Fault `toml:"-"`
	// Spec is the kind.
	Spec faults.Spec `toml:"-" json:"-"`
	// Line is the table's line in the file, from 1.
	Line int `toml:"-"`
}

// PlannedKinds lists the fault kinds of later versions: the parser knows their names and says "not yet supported".
func PlannedKinds() []faults.Kind {
	return []faults.Kind{
		"rolling_restart", "crash_loop", "remove", "recreate", "rolling_update", "scale", "exec",
		"latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "down",
		"http_status", "http_delay", "http_abort", "http_corrupt",
		"partition", "disconnect", "delay", "loss", "duplicate", "reorder", "corrupt", "rate", "dns",
		"cpu_stress", "memory_stress", "io_stress", "io_throttle", "fd_exhaustion", "connection_exhaustion",
		"disk_fill", "io_error", "io_latency", "bitflip", "truncate", "power_loss",
		"clock_skew", "clock_jump", "clock_drift", "failpoint",
	}
}

func planned(kind faults.Kind, known []faults.Spec) bool {
	return slices.Contains(PlannedKinds(), kind) && !slices.ContainsFunc(known, func(s faults.Spec) bool { return s.Kind == kind })
}
