package scenarios

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/discompose/discompose/faults"
)

var probeType = reflect.TypeFor[Probe]() //nolint:gochecknoglobals // a constant

func (v *validator) faults() {
	first := map[string]int{}
	for i, f := range v.s.Fault {
		key := indexKey("fault", i)
		if v.given(joinKey(key, "id")) {
			v.name(joinKey(key, "id"), f.ID)
		}
		if j, twice := first[f.ID]; twice {
			v.at(joinKey(key, "id"), fmt.Sprintf("%q is taken", f.ID), fmt.Sprintf("by the fault in line %d", v.s.Fault[j].Line))
		} else {
			first[f.ID] = i
		}
	}
	for i, f := range v.s.Fault {
		key := indexKey("fault", i)
		if v.exactly(key) {
			continue // no table at all
		}
		v.timing(key, f)
		v.after(key, f, first)
		v.does(key, f)
	}
}

// does checks what a fault does, to what, and who observes it: what does not concern its instant.
func (v *validator) does(key string, f Fault) {
	v.observers(key, f)
	v.query(key, f)
	if f.Spec.New == nil {
		return
	}
	v.rolls(key, f)
	if f.Spec.Replaces && v.given("environment.attach") {
		v.at(joinKey(key, "kind"), fmt.Sprintf("%s removes or makes containers, and nothing of an attached project is removed or made", f.Kind),
			`use an environment of the run's own: environment.files = ["compose.yaml"]`)
	}
	v.hold(key, f)
	v.targets(key, f)
	if !v.paramsWrong(key) {
		v.params(key, reflect.TypeOf(f.Params).Elem(), f.Params.Validate())
	}
	v.namedServices(key, f)
}

// paramsWrong reports whether something is wrong with a fault's table besides its common keys: what its kind would say of
// its parameters mostly follows from that.
func (v *validator) paramsWrong(key string) bool {
	common := keysOf(reflect.TypeFor[Fault]())
	return slices.ContainsFunc(v.list, func(e *Error) bool {
		own, ok := strings.CutPrefix(e.Key, key+".")
		name, _, _ := strings.Cut(own, "[")
		return inside(e.Key, key) && (!ok || !slices.Contains(common, name))
	})
}

// timing checks at, every and times.
func (v *validator) timing(key string, f Fault) {
	at, every, times := v.given(joinKey(key, "at")), v.given(joinKey(key, "every")), v.given(joinKey(key, "times"))
	if !at && !v.given(joinKey(key, "after")) {
		v.add(v.place(key), joinKey(key, "at"), "missing", `when it starts: at = "5s", or after = "<fault id>"`)
	}
	switch {
	case every && !times:
		v.at(joinKey(key, "every"), "needs times", "how often to repeat it")
	case times && !every:
		v.at(joinKey(key, "times"), "needs every", "the time from one start to the next")
	case every:
		v.positive(joinKey(key, "every"), f.Every)
		v.atLeastOne(joinKey(key, "times"), f.Times)
		if f.For != nil && f.Every <= *f.For {
			v.at(joinKey(key, "every"), fmt.Sprintf("%s is not longer than for = %s: the fault would overlap itself", f.Every, *f.For), "")
		}
	}
}

// after checks that the fault that this one waits for exists and does not wait for this one.
func (v *validator) after(key string, f Fault, byID map[string]int) {
	if !v.given(joinKey(key, "after")) {
		return
	}
	cur, chain := f, []string{f.ID}
	for range v.s.Fault {
		next, ok := byID[cur.After]
		if !ok {
			if len(chain) == 1 {
				hint := suggest(cur.After, slices.Sorted(maps.Keys(byID)))
				if _, err := time.ParseDuration(cur.After); err == nil {
					hint = fmt.Sprintf("after names a fault; a time is at = %q", cur.After)
				}
				v.at(joinKey(key, "after"), fmt.Sprintf("there is no fault %q", cur.After), hint)
			}
			return
		}
		chain = append(chain, cur.After)
		if cur.After == f.ID {
			v.at(joinKey(key, "after"), "waits for itself: "+strings.Join(chain, " → "), "")
			return
		}
		if cur = v.s.Fault[next]; cur.After == "" {
			return
		}
	}
	// A cycle that this fault only leads to is reported at the faults in it.
}

func (v *validator) observers(key string, f Fault) {
	at := joinKey(key, "observed_by")
	if v.given(at) && len(f.ObservedBy) == 0 {
		v.at(at, "is empty: nothing would observe the fault", "leave it out for all workloads and probes")
	}
	names := slices.Sorted(maps.Keys(v.s.Workload))
	names = append(names, slices.Sorted(maps.Keys(v.s.Probe))...)
	for i, o := range f.ObservedBy {
		if !slices.Contains(names, o) {
			v.at(indexKey(at, i), fmt.Sprintf("there is no workload or probe %q", o), suggest(o, names))
		}
	}
}

// hold checks `for`: instantaneous kinds have none, all others need one, but for a fault that ends by itself.
func (v *validator) hold(key string, f Fault) {
	at := joinKey(key, "for")
	given := v.given(at)
	finite, ok := f.Params.(faults.Finite)
	ends := ok && finite.Finite()
	switch {
	case f.Spec.Instant && given:
		hint := "leave it out"
		if _, ok := f.Params.(faults.Downtimer); ok {
			hint = "use down: the time until the target is started again"
		}
		v.at(at, fmt.Sprintf("%s is instantaneous", f.Kind), hint)
	case !f.Spec.Instant && !given && !ends:
		v.add(v.place(key), at, "missing", `how long the fault holds, as in for = "8s"`)
	case given && f.For != nil:
		v.positive(at, *f.For)
	}
}

// targets checks the form of each target and that the kind takes it.
func (v *validator) targets(key string, f Fault) {
	at := joinKey(key, "target")
	for i, t := range f.Target {
		one := at
		if v.given(indexKey(at, i)) {
			one = indexKey(at, i)
		}
		kind := faults.OnService
		switch {
		case strings.Contains(t, "->"):
			kind = faults.OnLink
		case strings.Contains(t, ":"):
			kind = faults.OnVolume
		}
		if len(f.Spec.Targets) > 0 && !slices.Contains(f.Spec.Targets, kind) {
			hint := ""
			if slices.Contains(f.Spec.Targets, faults.OnLink) {
				hint = `a link is written as in "web->db:5432"`
			}
			v.at(one, fmt.Sprintf("%q is a %s; %s takes a %s", t, kind, f.Kind, orList(f.Spec.Targets)), hint)
			continue
		}
		if kind == faults.OnLink {
			v.linkTarget(one, t)
		}
		if kind != faults.OnService {
			continue
		}
		switch named, ok := parseTarget(t); {
		case !ok:
			v.at(one, fmt.Sprintf("%q is no service", t), `as in "kafka", "kafka[2]" or "kafka*"`)
		case named.number > 0 && f.Spec.Whole:
			v.at(one, fmt.Sprintf("%q is one container; %s takes a whole service", t, f.Kind), fmt.Sprintf("write %q", named.pattern))
		}
	}
}

func orList(kinds []faults.TargetKind) string {
	var out []string
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return strings.Join(out, " or a ")
}

// target is a service, one replica of it, or a glob.
type target struct {
	pattern string
	number  int // from 1; 0 for all replicas
}

var targetPattern = regexp.MustCompile(`^([A-Za-z0-9*?][A-Za-z0-9_.*?-]*)(?:\[([0-9]{1,6})\])?$`)

func parseTarget(text string) (target, bool) {
	m := targetPattern.FindStringSubmatch(text)
	if m == nil {
		return target{}, false
	}
	n, err := strconv.Atoi(m[2])
	return target{m[1], n}, m[2] == "" || (err == nil && n > 0)
}

func (t target) glob() bool { return strings.ContainsAny(t.pattern, "*?") }

// matches reports whether the service's name fits the pattern.
func (t target) matches(service string) bool {
	ok, err := path.Match(t.pattern, service)
	return ok && err == nil
}
