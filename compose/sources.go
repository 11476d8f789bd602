package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
)

// CheckSources finds what would keep the enabled services from starting, though the files are right: secrets and configs
// that take a variable which is not set, and those that Compose cannot put into a read-only service. Each is a
// *RefusedError, by service. Load does not refuse them, for `docker compose config` does not; it needs no engine.
func (p *Project) CheckSources() []error {
	var errs []error
	for _, s := range p.sources() {
		item := fmt.Sprintf("%s %s of service %s", s.what, s.key, s.service)
		switch {
		case bool(s.object.External):
			errs = append(errs, &RefusedError{Item: item, What: "it is external, which only Swarm has", Do: "give it a file for the run, in a second Compose file"})
		case s.object.File != "":
		case s.object.Environment != "" && s.object.Content == "" && !p.isSet(s.object.Environment):
			errs = append(errs, &RefusedError{
				Item: item, What: fmt.Sprintf("it takes the environment variable %s, which is not set", s.object.Environment), Do: "set it, or write it in environment.env",
			})
		case p.p.Services[s.service].ReadOnly:
			errs = append(errs, &RefusedError{Item: item, What: "the service is read-only, and Compose can put only what has a file there", Do: "give it a file"})
		}
	}
	return errs
}

// isSet reports whether a variable is there for the files; an empty one is.
func (p *Project) isSet(name string) bool {
	_, ok := p.p.Environment[name]
	return ok
}

// source is a secret or config as one service uses it.
type source struct {
	what, key, service string
	object             types.FileObjectConfig
}

// sources are the secrets and configs of the enabled services, by service.
func (p *Project) sources() []source {
	var out []source
	for _, name := range slices.Sorted(maps.Keys(p.p.Services)) {
		s := p.p.Services[name]
		for _, c := range s.Secrets {
			out = append(out, source{"secret", c.Source, name, types.FileObjectConfig(p.p.Secrets[c.Source])})
		}
		for _, c := range s.Configs {
			out = append(out, source{"config", c.Source, name, types.FileObjectConfig(p.p.Configs[c.Source])})
		}
	}
	return out
}

// absent are warnings of files that services need and that are not on this machine. They are no errors: the engine, which
// looks for them, may be another one's.
func (p *Project) absent() []string {
	var out []string
	warn := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, s := range p.sources() {
		if s.object.File != "" && missing(s.object.File) {
			warn("%s %s of service %s: its file %s does not exist", s.what, s.key, s.service, p.short(s.object.File))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.p.Services)) {
		for _, v := range p.p.Services[name].Volumes {
			// A folder to write to is often made by the first start; what is only read, or has a file's name, is mostly misspelt.
			if v.Type == types.VolumeTypeBind && (v.ReadOnly || filepath.Ext(v.Source) != "") && missing(v.Source) {
				warn("service %s binds %s, which does not exist: %s is an empty folder", name, p.short(v.Source), v.Target)
			}
		}
	}
	return out
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// short is a path as people know it: relative to the project's folder, where it is in there.
func (p *Project) short(path string) string {
	if rel, err := filepath.Rel(p.p.WorkingDir, path); err == nil && filepath.IsLocal(rel) {
		return "." + string(filepath.Separator) + rel
	}
	return path
}
