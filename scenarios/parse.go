package scenarios

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/units"
	"github.com/discompose/discompose/oracle"
)

// Options say what a scenario may use. The zero value knows no kind, no variable and no driver's options.
type Options struct {
	// Kinds are the fault kinds that this build has: catalogue.All().
	Kinds []faults.Spec
	// Env finds a variable for ${NAME}: os.LookupEnv. Without it every variable is missing.
	Env func(name string) (string, bool)
	// Set are the values of --set, "workload.orders.rate=500", in order. They replace what the file says; ${NAME} in
	// them stays as it is.
	Set []string
	// Drivers maps a workload driver to a function that returns a pointer to its zero options: a struct with the tags
	// of this package and, if it wants, Validate() error, whose errors name keys as *faults.ParamError or "key: …".
	// Options of a driver that is not here stay a map[string]any.
	Drivers map[string]func() any
	// Environments are the shipped environments for environment.use; nil leaves the name unchecked.
	Environments []string
	// Unobserved allows a scenario without workload and probe: that of a fault which is applied by hand.
	Unobserved bool
	// Origin says where the file came from, as Find returns it. Errors name the file by its Path.
	Origin Origin
}

// Parse reads the scenario file name of fsys with its includes, fills in the defaults and validates everything that
// needs no Compose file. The error is an Errors with every problem that was found; the scenario is then nil.
func Parse(fsys fs.FS, name string, o Options) (*Scenario, error) {
	s, err := parse(fsys, name, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ParsePartial is Parse that returns what it could read in spite of an error, never nil: so that its names can be checked
// against the services in the same go. What it could not read is zero.
func ParsePartial(fsys fs.FS, name string, o Options) (*Scenario, error) { return parse(fsys, name, o) }

func parse(fsys fs.FS, name string, o Options) (*Scenario, error) {
	l := &loader{fsys: fsys, env: o.Env, show: shower(name, o.Origin)}
	s := &Scenario{Origin: o.Origin}
	if s.Origin.Path == "" {
		s.Origin.Path = name
	}
	root := l.load(name)
	s.Origin.Source = l.source
	if root == nil {
		return s, l.list.err()
	}
	for _, text := range o.Set {
		l.files = append(l.files, "--set "+text)
		l.set(root, text)
	}
	l.places = map[string]Place{}
	places(root, "", l.places)
	d := &decoder{&l.problems, o.Kinds}
	d.table(root, "", false, reflect.ValueOf(s).Elem())
	s.Places = l.places
	if s.Name == "" && !l.given("name") {
		s.Name = strings.TrimSuffix(path.Base(name), ".toml")
	}
	if list := root.table["fault"]; list != nil && list.isList() {
		for i, id := range faultIDs(list) {
			f := &s.Fault[i]
			f.ID = id
			if f.At == nil && f.After != "" {
				f.At = new(units.Duration)
			}
		}
	}
	d.options(s, root, o.Drivers)
	d.checkOptions(s, root)
	(&validator{&l.problems, s, o.Environments, o.Unobserved}).scenario(path.Base(name))
	return s, l.list.err()
}

// shower makes the names that errors call files by: the scenario as it was given, includes relative to it.
func shower(name string, o Origin) func(string) string {
	return func(file string) string {
		switch {
		case o.Path == "":
			return file
		case file == name:
			return o.Path
		case o.Shipped:
			return "shipped:" + file
		}
		return path.Join(path.Dir(o.Path), file)
	}
}

// places lists where each value of the merged tree stands.
func places(n *node, key string, into map[string]Place) {
	if key != "" {
		into[key] = n.place
	}
	for k, v := range n.table {
		places(v, joinKey(key, k), into)
	}
	for i, v := range n.list {
		places(v, indexKey(key, i), into)
	}
}

// options decodes the options of each workload into its driver's type.
func (d *decoder) options(s *Scenario, root *node, drivers map[string]func() any) {
	for _, name := range slices.Sorted(maps.Keys(s.Workload)) {
		w := s.Workload[name]
		zero := drivers[w.Driver]
		if zero == nil {
			continue
		}
		into, key := zero(), joinKey(joinKey("workload", name), "options")
		v := reflect.ValueOf(into)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
			continue
		}
		table := root.table["workload"].table[name]
		n := table.table["options"]
		if n == nil {
			n = &node{place: table.place, table: map[string]*node{}}
		}
		if n.table == nil {
			continue
		}
		d.tuned(n, key, into)
		w.Options = into
		if o, ok := into.(interface{ DefaultClients() int }); ok && table.table["clients"] == nil {
			w.Clients = o.DefaultClients()
		}
		if list := table.table["phase"]; !d.has(key) && list != nil {
			for i := range w.Phase {
				d.phase(&w.Phase[i], n, list.list[i], indexKey(joinKey(joinKey("workload", name), "phase"), i), zero)
			}
		}
		s.Workload[name] = w
	}
}

// checkOptions decodes the options of each check into its kind's type.
func (d *decoder) checkOptions(s *Scenario, root *node) {
	for i := range s.Check {
		c := &s.Check[i]
		n := root.table["check"].list[i].table["options"]
		c.Options = nil
		kinds := oracle.Kinds()
		at := slices.IndexFunc(kinds, func(k oracle.Kind) bool { return k.Name == c.Kind })
		if n == nil || n.table == nil || at < 0 {
			continue
		}
		into := kinds[at].New()
		d.tuned(n, joinKey(indexKey("check", i), "options"), into)
		c.Options = into
	}
}

// tuned decodes a table into the struct that into points to, and validates it if it can.
func (d *decoder) tuned(n *node, key string, into any) {
	v := reflect.ValueOf(into).Elem()
	d.table(n, key, false, v)
	if c, ok := into.(interface{ Validate() error }); ok && !d.has(key) {
		d.params(key, v.Type(), c.Validate())
	}
}

// params reports the problems of a Validate method, each at the key that it names.
func (p *problems) params(table string, t reflect.Type, err error) {
	if err == nil {
		return
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range list.Unwrap() {
			p.params(table, t, e)
		}
		return
	}
	var pe *faults.ParamError
	if errors.As(err, &pe) {
		p.at(joinKey(table, pe.Key), pe.Err.Error(), pe.Hint)
		return
	}
	if key, problem, ok := strings.Cut(err.Error(), ": "); ok {
		if _, isKey := fieldOf(t, key); isKey {
			p.at(joinKey(table, key), problem, "")
			return
		}
	}
	p.at(table, err.Error(), "")
}
