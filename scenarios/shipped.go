package scenarios

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// shipped holds the catalogue. A file whose name begins with _ has shared tables and is no scenario.
//
//go:embed *.toml kinds/*.toml
var shipped embed.FS

// Shipped is the file system of the shipped scenarios and of the tables that they include.
func Shipped() fs.FS { return shipped }

// ShippedNames are the names of the shipped scenarios as run takes them, those of the kinds included, sorted.
func ShippedNames() ([]string, error) {
	files, err := scenarioFiles(shipped)
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".toml")
	}
	return files, err
}

// Listed is one scenario that a name given to run finds.
type Listed struct {
	Name        string // what to give to run: "kafka_broker_pause", "kinds/pause"
	Description string
	Tags        []string
	From        string // "./scenarios" or "shipped"
	Path        string // as in Origin.Path
	Err         error  // why it cannot be run, an Errors; the other fields hold what could be read
}

// Find locates a scenario by the name that a person gives: a path, else a file in ./scenarios under cwd, else a shipped
// scenario, in this order, with or without ".toml". It returns the file system and the file in it for Parse, and the
// origin for Options. The error names the nearest scenario.
func Find(name, cwd string) (fsys fs.FS, file string, origin Origin, err error) {
	for _, p := range []string{name, filepath.Join("scenarios", name), filepath.Join("scenarios", name+".toml")} {
		full := p
		if !filepath.IsAbs(p) {
			full = filepath.Join(cwd, p)
		}
		if st, err := os.Stat(full); err != nil || !st.Mode().IsRegular() || isYAML(p) {
			continue
		}
		dir, err := filepath.Abs(filepath.Dir(full))
		if err != nil {
			return nil, "", Origin{}, fmt.Errorf("locate %s: %w", full, err)
		}
		return os.DirFS(dir), filepath.Base(full), Origin{Path: filepath.ToSlash(p), Dir: dir}, nil
	}
	file = strings.TrimSuffix(name, ".toml") + ".toml"
	if fs.ValidPath(file) && !hidden(file) {
		if _, err := fs.Stat(shipped, file); err == nil {
			return shipped, file, Origin{Path: "shipped:" + file, Shipped: true}, nil
		}
	}
	return nil, "", Origin{}, notFound(name, cwd)
}

// isYAML reports whether a name is that of a Compose file.
func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// notFound is the error for a name that leads nowhere. An unreadable ./scenarios adds no names to it.
func notFound(name, cwd string) error {
	var names []string
	for _, src := range sources(cwd) {
		files, _ := scenarioFiles(src.fsys)
		for _, f := range files {
			names = append(names, strings.TrimSuffix(f, ".toml"))
		}
	}
	if isYAML(name) {
		return fmt.Errorf("find scenario %q: a scenario is a TOML file, which names Compose files under environment.files (discompose topology %s shows what is in one)", name, name)
	}
	if st, err := os.Stat(filepath.Join(cwd, name+".toml")); err == nil && st.Mode().IsRegular() && !filepath.IsAbs(name) {
		return fmt.Errorf("find scenario %q: there is no such file (did you mean %q?)", name, name+".toml")
	}
	hint := "discompose list shows all"
	base := strings.TrimSuffix(path.Base(filepath.ToSlash(name)), ".toml")
	if near := nearest(base, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("find scenario %q: there is no such file, none in ./scenarios and none shipped (%s)", name, hint)
}

// List parses every scenario that can be run by its name from cwd: those in ./scenarios, then the shipped ones that no
// file there hides, each sorted by name. A scenario with errors is listed with them; the error is that of reading
// ./scenarios.
func List(cwd string, o Options) ([]Listed, error) {
	var out []Listed
	var errs []error
	for _, src := range sources(cwd) {
		files, err := scenarioFiles(src.fsys)
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", src.from, err))
		}
		for _, file := range files {
			name := strings.TrimSuffix(file, ".toml")
			if slices.ContainsFunc(out, func(l Listed) bool { return l.Name == name }) {
				continue
			}
			opts := o
			opts.Origin = Origin{Path: src.prefix + file, Dir: src.dir, Shipped: src.dir == ""}
			s, err := parse(src.fsys, file, opts)
			out = append(out, Listed{name, s.Description, s.Tags, src.from, opts.Origin.Path, err})
		}
	}
	return out, errors.Join(errs...)
}

type source struct {
	fsys              fs.FS
	from, prefix, dir string
}

// sources are the places that List and Find look in, in their order of precedence.
func sources(cwd string) []source {
	dir := filepath.Join(cwd, "scenarios")
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return []source{
		{os.DirFS(dir), "./scenarios", "scenarios/", dir},
		{shipped, "shipped", "shipped:", ""},
	}
}

// scenarioFiles lists the scenarios of a file system: *.toml and kinds/*.toml without those that begin with _, sorted.
func scenarioFiles(fsys fs.FS) ([]string, error) {
	var out []string
	for _, dir := range []string{".", "kinds"} {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
		for _, e := range entries {
			if file := path.Join(dir, e.Name()); !e.IsDir() && path.Ext(file) == ".toml" && !hidden(file) {
				out = append(out, file)
			}
		}
	}
	return out, nil
}

func hidden(file string) bool { return strings.HasPrefix(path.Base(file), "_") }
