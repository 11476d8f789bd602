package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/oracle"
)

// validator checks what the types cannot say and no Compose file is needed for.
type validator struct {
	*problems
	s            *Scenario
	environments []string
	unobserved   bool // nothing has to observe the system
}

// names of scenarios, workloads, probes and faults become parts of file names and ids.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (v *validator) name(key, name string) {
	if !namePattern.MatchString(name) {
		v.add(v.place(key), key, fmt.Sprintf("%q is no name", name), "use letters, digits, -, _ and ., and begin with a letter or digit")
	}
}

func (v *validator) scenario(file string) {
	if base := strings.TrimSuffix(file, ".toml"); v.given("name") && v.s.Name != base {
		v.at("name", fmt.Sprintf("%q is not the file's name", v.s.Name), fmt.Sprintf("write %q or leave it out", base))
	}
	v.environment()
	for i, step := range v.s.Setup {
		v.step(indexKey("setup", i), step)
	}
	for i, step := range v.s.Teardown {
		v.step(indexKey("teardown", i), step)
	}
	for _, name := range slices.Sorted(maps.Keys(v.s.Workload)) {
		v.workload(name, v.s.Workload[name])
	}
	for _, name := range slices.Sorted(maps.Keys(v.s.Probe)) {
		v.probe(name, v.s.Probe[name])
	}
	if len(v.s.Workload)+len(v.s.Probe) == 0 && !v.unobserved {
		v.at("", "nothing observes the system", "add a [workload.<name>] or a [probe.<name>]")
	}
	v.links()
	v.faults()
	v.nemesis()
	v.expect()
	for i, b := range v.s.Budget {
		v.budget(indexKey("budget", i), b)
	}
	for i, c := range v.s.Check {
		v.check(indexKey("check", i), c)
		if slices.ContainsFunc(v.s.Check[:i], func(o Check) bool { return o.Kind == c.Kind && o.Workload == c.Workload && c.Workload != "" }) {
			v.at(joinKey(indexKey("check", i), "kind"), fmt.Sprintf("there is a %s check of %s already", c.Kind, c.Workload), "")
		}
	}
	v.positive("recovery.within", v.s.Recovery.Within)
	v.positive("steady.within", v.s.Steady.Within)
	if v.s.Steady.Within > 0 && v.s.Steady.For >= v.s.Steady.Within {
		v.at("steady.for", fmt.Sprintf("%s is not shorter than within = %s", v.s.Steady.For, v.s.Steady.Within), "")
	}
	v.atLeastOne("steady.operations", v.s.Steady.Operations)
	v.atLeastOne("guard.operations", v.s.Guard.Operations)
	v.atLeastOne("guard.probes", v.s.Guard.Probes)
}

func (v *validator) positive(key string, d units.Duration) {
	if d <= 0 {
		v.at(key, "must be longer than 0s", "")
	}
}

func (v *validator) atLeastOne(key string, n int) {
	if n < 1 {
		v.at(key, "must be at least 1", "")
	}
}

func (v *validator) environment() {
	e := v.s.Environment
	var given []string
	for _, k := range []string{"use", "files", "attach"} {
		if v.given("environment." + k) {
			given = append(given, k)
		}
	}
	switch {
	case len(given) == 0:
		v.at("environment", "names no environment", `write use = "kafka", files = ["compose.yaml"] or attach = "project"`)
	case len(given) > 1:
		v.at("environment."+given[1], fmt.Sprintf("excludes %s", given[0]), "an environment has exactly one of use, files and attach")
	case given[0] == "files" && len(e.Files) == 0:
		v.at("environment.files", "is empty", "name a Compose file")
	case given[0] == "use" && v.environments != nil && !slices.Contains(v.environments, e.Use):
		v.at("environment.use", fmt.Sprintf("there is no shipped environment %q", e.Use), suggest(e.Use, v.environments))
	case e.Use+e.Attach == "" && given[0] != "files":
		v.at("environment."+given[0], "is empty", "")
	}
	v.positive("environment.ready", e.Ready)
	for i, p := range e.Publish {
		v.servicePort(indexKey("environment.publish", i), p)
	}
	for i, item := range e.Share {
		kind, name, _ := strings.Cut(item, ":")
		if !slices.Contains([]string{"volume", "bind", "network", "port", "logging", "container"}, kind) || name == "" {
			v.at(indexKey("environment.share", i), fmt.Sprintf("%q is no item", item), `write "volume:name", "bind:/path", "network:name", "port:service", "logging:service" or "container:name"`)
		}
	}
}

func (v *validator) servicePort(key, target string) {
	if _, _, ok := splitPort(target); !ok {
		v.at(key, fmt.Sprintf("%q is not service:port", target), `as in "kafka:9092"`)
	}
}

// splitPort splits "service:port".
func splitPort(target string) (service string, port int, ok bool) {
	service, text, ok := strings.Cut(target, ":")
	port, err := strconv.Atoi(text)
	return service, port, ok && err == nil && strconv.Itoa(port) == text && port > 0 && port < 1<<16 && namePattern.MatchString(service)
}

func (v *validator) step(key string, s Step) {
	switch {
	case s.Service == "" && len(s.Command) == 0:
		v.at(key, "does nothing", "write service (with or without exec), or command")
	case s.Service != "" && len(s.Command) > 0:
		v.at(joinKey(key, "command"), "excludes service", "a command runs on the host; exec runs in the service")
	case s.Service == "" && len(s.Exec) > 0:
		v.at(joinKey(key, "exec"), "needs service", "name the service to run it in")
	}
	v.positive(joinKey(key, "timeout"), s.Timeout)
}

func (v *validator) workload(name string, w Workload) {
	key := joinKey("workload", name)
	v.name(key, name)
	if _, both := v.s.Probe[name]; both {
		v.add(v.place(key), key, "a probe has the same name", "observed_by and reports could not tell them apart")
	}
	v.servicePort(joinKey(key, "target"), w.Target)
	v.atLeastOne(joinKey(key, "clients"), w.Clients)
	v.atLeastOne(joinKey(key, "containers"), w.Containers)
	if w.Rate < 0 {
		v.at(joinKey(key, "rate"), "must not be negative", "0 is as fast as answers come")
	}
	v.positive(joinKey(key, "timeout"), w.Timeout)
	v.phases(joinKey(key, "phase"), w)
	if o, ok := w.Options.(interface{ ForClients(n int) error }); ok {
		v.params(joinKey(key, "options"), reflect.TypeOf(w.Options).Elem(), o.ForClients(w.Clients))
	}
	if p, ok := w.Options.(interface{ OnHost() bool }); ok && p.OnHost() && v.s.Environment.Attach == "" && !slices.Contains(v.s.Environment.Publish, w.Target) {
		v.at(joinKey(key, "target"), fmt.Sprintf("a program on the host cannot reach %s", w.Target), fmt.Sprintf("add environment.publish = [%q], or name a service in options", w.Target))
	}
}

// probeKeys lists, by kind, the keys that a probe needs and those that it may have, besides the common ones.
func probeKeys(kind string) (need, may []string) {
	switch kind {
	case "tcp":
		return []string{"target"}, nil
	case "http":
		return []string{"target"}, []string{"method", "body", "status", "match"}
	case "exec":
		return []string{"target", "command"}, []string{"match"}
	case "command":
		return []string{"command"}, []string{"match"}
	case "log":
		return []string{"target", "match"}, nil
	}
	return nil, nil
}

func (v *validator) probe(name string, p Probe) {
	key := joinKey("probe", name)
	v.name(key, name)
	v.positive(joinKey(key, "every"), p.Every)
	v.positive(joinKey(key, "timeout"), p.Timeout)
	if _, err := regexp.Compile(p.Match); err != nil {
		v.at(joinKey(key, "match"), regexpProblem(err), "")
	}
	need, may := probeKeys(p.Kind)
	if need == nil {
		return
	}
	for _, k := range need {
		if !v.given(joinKey(key, k)) {
			f, _ := fieldOf(probeType, k)
			v.add(v.place(key), joinKey(key, k), fmt.Sprintf("missing: a probe of kind %s needs it", p.Kind), f.doc)
		}
	}
	for _, k := range []string{"target", "method", "body", "status", "match", "command"} {
		if v.given(joinKey(key, k)) && !slices.Contains(need, k) && !slices.Contains(may, k) {
			v.at(joinKey(key, k), fmt.Sprintf("a probe of kind %s has no %s", p.Kind, k), "")
		}
	}
	if v.given(joinKey(key, "command")) && len(p.Command) == 0 {
		v.at(joinKey(key, "command"), "is empty", "")
	}
	v.probeTarget(key, p)
}

func (v *validator) probeTarget(key string, p Probe) {
	target := joinKey(key, "target")
	switch p.Kind {
	case "tcp":
		v.servicePort(target, p.Target)
	case "http":
		u, err := url.Parse(p.Target)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			v.at(target, fmt.Sprintf("%q is no URL", p.Target), `as in "http://web:8080/health", whose host is a service`)
		}
		for i, code := range p.Status {
			if code < 100 || code > 599 {
				v.at(indexKey(joinKey(key, "status"), i), fmt.Sprintf("%d is no HTTP status", code), "")
			}
		}
		if len(p.Status) == 0 {
			v.at(joinKey(key, "status"), "is empty: the probe could never hold", "")
		}
	case "exec", "log":
		if t, ok := parseTarget(p.Target); !ok || t.glob() {
			v.at(target, fmt.Sprintf("%q is no service", p.Target), `as in "kafka" or "kafka[2]"`)
		}
	case "command":
		return
	}
}

func regexpProblem(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

func (v *validator) expect() {
	e := v.s.Expect
	classes := []string{"pass"}
	for _, c := range oracle.Classes() {
		classes = append(classes, string(c))
	}
	if !slices.Contains(classes, e.Verdict) {
		hint := suggest(e.Verdict, classes)
		if hint == "" {
			hint = "pass, or a class: " + strings.Join(classes[1:], ", ")
		}
		v.at("expect.verdict", fmt.Sprintf("%q is neither pass nor a class", e.Verdict), hint)
	}
	if a := e.Availability; a != nil && (*a < 0 || *a > 1) {
		v.at("expect.availability", fmt.Sprintf("%v is not in [0,1]", *a), "it is a ratio, as in 0.5")
	}
	if l := e.Leak; l != nil && l.Descriptors < 0 {
		v.at("expect.leak.descriptors", "must not be negative", "")
	}
	if r := e.MinRate; r != nil && *r < 0 {
		v.at("expect.min_rate", "must not be negative", "")
	}
	if m := e.MaxRecovery; m != nil && *m <= 0 {
		v.at("expect.max_recovery", "must be longer than 0s", "leave it out to expect nothing")
	}
}

func (v *validator) check(key string, c Check) {
	v.positive(joinKey(key, "timeout"), c.Timeout)
	names := slices.Sorted(maps.Keys(v.s.Workload))
	w, ok := v.s.Workload[c.Workload]
	if slices.ContainsFunc(oracle.Kinds(), func(k oracle.Kind) bool { return k.Name == c.Kind && k.Probes }) {
		names = slices.Sorted(maps.Keys(v.s.Probe))
		_, probe := v.s.Probe[c.Workload]
		ok = ok || probe
	}
	switch {
	case !ok && len(names) == 0:
		v.at(joinKey(key, "workload"), "the scenario has no workload", "add [workload.<name>]: a check judges its operations")
	case !ok:
		v.at(joinKey(key, "workload"), fmt.Sprintf("there is no workload %q", c.Workload), suggest(c.Workload, names))
	default:
		v.judged(key, c, w)
	}
}

// judged asks a driver's options whether a check can judge what they make the driver do.
func (v *validator) judged(key string, c Check, w Workload) {
	o, ok := w.Options.(interface {
		Judged(kind string, options json.RawMessage) error
	})
	if !ok || c.Kind == "" {
		return
	}
	options, err := json.Marshal(c.Options)
	if err == nil {
		err = o.Judged(c.Kind, options)
	}
	if err != nil {
		v.at(joinKey(key, "workload"), fmt.Sprintf("workload %q: %v", c.Workload, err), "")
	}
}
