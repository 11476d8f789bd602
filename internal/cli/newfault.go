package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/internal/starter"
)

func (a *app) newFaultCommand() *cobra.Command {
	var family string
	c := &cobra.Command{
		Use:   "fault KIND [--family FAMILY]",
		Short: "Begin a fault kind in discompose's source tree",
		Long: `Begin a fault kind, for contributors: in a clone of discompose, write faults/FAMILY/KIND.go and
scenarios/kinds/KIND.toml, and put the kind into the catalogue. It builds at once, and its tests say what is still to be
written.`,
		Example: "  discompose new fault clock_skew --family clock",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.newFault(starter.Kind{Name: args[0], Family: faults.Family(family)})
		},
	}
	c.Flags().StringVar(&family, "family", string(faults.Process), "the kind's `family`: process, link, network, resource, disk, clock or app")
	return c
}

func (a *app) newFault(kind starter.Kind) error {
	if err := kind.Validate(); err != nil {
		return &usageError{err}
	}
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find working folder: %w", err)
	}
	root, err := starter.FindTree(cwd)
	if errors.Is(err, starter.ErrNotTree) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	files, err := kind.Files(os.DirFS(root))
	if errors.Is(err, starter.ErrTaken) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		_, err := os.Stat(filepath.Join(root, name))
		if werr := writeNew(filepath.Join(root, filepath.FromSlash(name)), files[name], err == nil); werr != nil {
			return werr
		}
		fmt.Fprintln(a.Out, "wrote "+name)
	}
	fmt.Fprintf(a.Out, "next: fill in what go test ./faults/catalogue -run 'TestEveryKindConforms/%s$' asks for; then make generate (docs/CONTRIBUTING.md)\n", kind.Name)
	return nil
}
