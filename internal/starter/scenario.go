package starter

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// MostLines is how many lines a proposed scenario has at the most.
const MostLines = 15

// Scenario is the text of a scenario file of that name, for Compose files relative to it: the proposal, with comments that
// say what to change.
func (p Proposal) Scenario(name string, files []string) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("name = %s", quote(name))
	line("description = %s # what happens, and what must hold", quote(p.sentence()))
	line("[environment]")
	line("files = %s # a run has a project of its own: discompose plan shows what that changes", quote(files))
	line("[probe.%s] # what users notice; [workload.<name>] with a [[check]] looks after data too", probeName(p.Probe.Service))
	switch p.Probe.Kind {
	case "exec":
		line("kind = \"exec\" # or http and tcp, where the service listens")
		line("target = %s", quote(p.Probe.Target))
		line("command = %s # put here what fails when the service does not work", quote(p.Probe.Command))
		line("every = \"200ms\"")
	case "http":
		line("kind = \"http\" # or tcp, exec, command, log")
		line("target = %s # %s", quote(p.Probe.Target), p.better())
		line("every = \"100ms\"")
	default:
		line("kind = %s # http shows more: target = \"http://service/path\"", quote(p.Probe.Kind))
		line("target = %s", quote(p.Probe.Target))
		line("every = \"100ms\"")
	}
	line("[[fault]]")
	line("kind = %s # discompose faults lists the others: kill, latency, partition, cpu_limit …", quote(p.Kind))
	line("target = %s # %s", quote(p.Target), p.why())
	line("at = \"5s\" # after the probe has held for a while")
	line("%s = \"5s\" # how long it should be survived", map[string]string{"pause": "for", "stop": "down"}[p.Kind])
	if p.Probe.Kind != "exec" {
		line("[recovery]")
		line("within = \"30s\" # until the probe holds again")
	}
	return b.Bytes()
}

// sentence says what happens, and what must hold.
func (p Proposal) sentence() string {
	does, who := p.Does(), p.Probe.Service
	if who == p.Target {
		who = "it"
	}
	return fmt.Sprintf("%s %s for 5 s. Afterwards %s answers again.", p.Target, does, who)
}

// Does is what becomes of the target: "freezes" or "stops".
func (p Proposal) Does() string {
	if p.Kind == "stop" {
		return "stops"
	}
	return "freezes"
}

// better says what a good request would be.
func (p Proposal) better() string {
	if p.Probe.Service == p.Target {
		return "a request that does real work shows more"
	}
	return "a request that needs " + p.Target + " shows more"
}

func (p Proposal) why() string {
	switch p.Dependents {
	case 0:
		return "or service[2], a glob, a link such as \"web->db:5432\" for faults of links"
	case 1:
		return "1 service depends on it; for faults of links a link such as \"web->db:5432\""
	}
	return fmt.Sprintf("%d services depend on it; for faults of links a link such as \"web->db:5432\"", p.Dependents)
}

// probeName makes a service's name a bare key of TOML.
func probeName(service string) string { return strings.ReplaceAll(service, ".", "_") }

// quote is a string, or a list of them, in TOML.
func quote(v any) string {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]any{"v": v}); err != nil {
		return `""` // strings never fail
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), "v = "), "\n")
}
