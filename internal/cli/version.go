package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker: -X github.com/discompose/discompose/internal/cli.version=… and commit=….
var version, commit string //nolint:gochecknoglobals // the linker sets variables only

// Version is the version and commit of this build, from the linker or from the module's build information.
func Version() string {
	v, c := version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && c == "" {
				c = s.Value
			}
		}
	}
	if v == "" {
		v = "devel"
	}
	if c == "" {
		return v
	}
	return fmt.Sprintf("%s (%.12s)", v, c)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and commit", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "discompose %s %s/%s\n", Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
