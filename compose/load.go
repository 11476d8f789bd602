package compose

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/compose/v5/pkg/api"
)

//go:embed environments/*/compose.yaml
var shipped embed.FS

// LoadOptions says which project to load. The zero value loads what `docker compose` would load in the current folder.
type LoadOptions struct {
	Dir      string            // folder that Files and EnvFiles are relative to; "" is the current one
	Files    []string          // Compose files, merged in order; none: COMPOSE_FILE, or compose.yaml and its override in Dir
	Profiles []string          // none: COMPOSE_PROFILES
	EnvFiles []string          // none: .env beside the first Compose file
	Env      map[string]string // variables for interpolation; they win over the process environment and EnvFiles
	Name     string            // project name; "": as docker compose finds it
	FS       fs.FS             // where set, Files are read from it and neither the process environment nor .env counts
}

// Load reads a project as `docker compose` does: several files, include, extends, profiles, env files, interpolation from
// the process environment. It needs no engine. Errors name the file and, where the file was read, the key.
func Load(ctx context.Context, o LoadOptions) (*Project, error) {
	seen := listen()
	var p *types.Project
	var err error
	if o.FS != nil {
		p, err = loadFS(ctx, o)
	} else {
		p, err = loadFiles(ctx, o)
	}
	warned := worthTelling(seen.stop())
	if err != nil {
		for _, w := range warned { // a variable that is not set is often why
			err = fmt.Errorf("%w; %s", err, w)
		}
		return nil, fmt.Errorf("load compose project%s: %w", describe(o.Files), err)
	}
	if p.Name == "" {
		return nil, errors.New("load compose project: it has no name (set `name:` in the file)")
	}
	if len(p.Services) == 0 {
		return nil, fmt.Errorf("load compose project%s: no service is enabled%s", describe(o.Files), profileHint(p))
	}
	stamp(p, o.EnvFiles)
	out := &Project{p: p, origin: p.Name, warnings: warned}
	if o.FS == nil {
		out.warnings = append(out.warnings, out.absent()...)
	}
	return out, nil
}

// worthTelling leaves out what changes nothing: every file of Compose's early years has a version.
func worthTelling(warned []string) []string {
	return slices.DeleteFunc(warned, func(w string) bool { return strings.Contains(w, "attribute `version` is obsolete") })
}

func describe(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return " " + strings.Join(files, ", ")
}

func profileHint(p *types.Project) string {
	set := map[string]bool{}
	for _, s := range p.DisabledServices {
		for _, name := range s.Profiles {
			set[name] = true
		}
	}
	if len(set) == 0 {
		return ""
	}
	return fmt.Sprintf(" (profiles in the file: %s)", strings.Join(slices.Sorted(maps.Keys(set)), ", "))
}

// loadFiles loads with the same options, in the same order, as the SDK's LoadProject (compose v5.5.1, loader.go), except
// that Env comes first and wins, and that files from git or OCI registries are not supported.
func loadFiles(ctx context.Context, o LoadOptions) (*types.Project, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	files, envFiles := under(dir, o.Files), under(dir, o.EnvFiles)
	for _, f := range append(slices.Clone(files), envFiles...) {
		if _, err := os.Stat(f); err != nil {
			return nil, err
		}
	}
	var env []string
	for k, v := range o.Env {
		env = append(env, k+"="+v)
	}
	fns := []cli.ProjectOptionsFn{cli.WithEnv(env)}
	if len(files) == 0 {
		fns = append(fns, cli.WithWorkingDirectory(dir))
	}
	fns = append(fns, cli.WithOsEnv)
	if os.Getenv("PWD") == "" {
		fns = append(fns, cli.WithEnv([]string{"PWD=" + dir}))
	}
	fns = append(fns, cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithConfigFileEnv, cli.WithDefaultConfigPath, besideFiles,
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithDefaultProfiles(o.Profiles...), cli.WithName(o.Name))
	opts, err := cli.NewProjectOptions(files, fns...)
	if err != nil {
		return nil, err
	}
	if len(opts.ConfigPaths) == 0 {
		return nil, fmt.Errorf("%w in %s or above it (name the files)", ErrNoFile, dir)
	}
	return opts.LoadProject(ctx)
}

// besideFiles has the folder of the files that were found be the project's, which may be above the one where the search
// began: paths in the files are relative to it.
func besideFiles(o *cli.ProjectOptions) error {
	if len(o.ConfigPaths) > 0 {
		o.WorkingDir = ""
	}
	return nil
}

// under makes paths absolute against dir.
func under(dir string, paths []string) []string {
	var out []string
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		out = append(out, p)
	}
	return out
}

// loadFS loads from memory: a shipped environment depends on nothing of the user's machine but Env.
func loadFS(ctx context.Context, o LoadOptions) (*types.Project, error) {
	details := types.ConfigDetails{WorkingDir: "/", Environment: types.Mapping{}}
	maps.Copy(details.Environment, o.Env)
	for _, name := range o.Files {
		content, err := fs.ReadFile(o.FS, path.Join(o.Dir, name))
		if err != nil {
			return nil, err
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: name, Content: content})
	}
	if len(details.ConfigFiles) == 0 {
		return nil, errors.New("no file is named")
	}
	return loader.LoadWithContext(ctx, details, func(lo *loader.Options) {
		lo.Profiles = o.Profiles
		if o.Name != "" {
			lo.SetProjectName(o.Name, true)
		}
	})
}

// LoadShipped loads a shipped environment; of o only Env, Profiles and Name count. An unknown name is an error that
// names those that there are.
func LoadShipped(ctx context.Context, name string, o LoadOptions) (*Project, error) {
	if !slices.Contains(Environments(), name) {
		return nil, fmt.Errorf("load environment %q: there is none of that name (there are: %s)", name, strings.Join(Environments(), ", "))
	}
	p, err := Load(ctx, LoadOptions{
		FS: shipped, Dir: path.Join("environments", name), Files: []string{"compose.yaml"},
		Env: o.Env, Profiles: o.Profiles, Name: o.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("load environment %q: %w", name, err)
	}
	p.shipped = name
	return p, nil
}

// Environments are the names of the shipped environments, sorted.
func Environments() []string {
	entries, err := shipped.ReadDir("environments")
	if err != nil {
		return nil // the folder is embedded: it is always there
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// ShippedSource is the text of a shipped environment's Compose file.
func ShippedSource(name string) ([]byte, error) {
	text, err := shipped.ReadFile(path.Join("environments", name, "compose.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read environment %q: %w", name, err)
	}
	return text, nil
}

// stamp puts the labels on services by which Compose knows its containers; they carry the project's name, so a renamed
// project is stamped again. The SDK's own LoadProject does the same.
func stamp(p *types.Project, envFiles []string) {
	for name, s := range p.Services {
		s.CustomLabels = types.Labels{
			api.ProjectLabel:     p.Name,
			api.ServiceLabel:     name,
			api.VersionLabel:     api.ComposeVersion,
			api.WorkingDirLabel:  p.WorkingDir,
			api.ConfigFilesLabel: strings.Join(p.ComposeFiles, ","),
			api.OneoffLabel:      "False",
		}
		if len(envFiles) > 0 {
			s.CustomLabels[api.EnvironmentFileLabel] = strings.Join(envFiles, ",")
		}
		p.Services[name] = s
	}
}
