package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/scenarios"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scenarios that run knows by name", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return a.list() },
	}
}

func (a *app) list() error {
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find working folder: %w", err)
	}
	all, err := scenarios.List(cwd, scenarioOptions(nil))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tFROM\tTAGS\tDESCRIPTION")
	for _, l := range all {
		text := firstSentence(l.Description)
		if l.Err != nil {
			text = "invalid: " + strings.SplitN(l.Err.Error(), "\n", 2)[0]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Name, l.From, strings.Join(l.Tags, ","), text)
	}
	return w.Flush()
}

func firstSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if i := strings.Index(s, ". "); i >= 0 {
		return s[:i+1]
	}
	return s
}

func (a *app) faultsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "faults [KIND]", Short: "List the fault kinds, or explain one", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.faults()
			}
			spec, err := lookup(args[0])
			if err != nil {
				return err
			}
			_, page, _ := strings.Cut(string(scenarios.FaultReference([]faults.Spec{spec})), "\n## ") // after what introduces the list
			page, _, _ = strings.Cut(page, "\n## ")
			_, err = io.WriteString(a.Out, "## "+page)
			return err
		},
	}
}

func (a *app) faults() error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tFAMILY\tWHAT IT DOES\tMECHANISMS, BEST FIRST")
	for _, s := range catalogue.All() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Kind, s.Family, s.Summary, mechanisms(s))
	}
	return w.Flush()
}

func mechanisms(s faults.Spec) string {
	var names []string
	for _, m := range s.Mechanisms {
		names = append(names, m.Name)
	}
	return strings.Join(names, "; ")
}
