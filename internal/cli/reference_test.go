package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestTheReferenceHasEveryPublicCommandWithItsFlags(t *testing.T) {
	t.Parallel()
	page := string(Reference())
	sections := map[string]string{}
	for s := range strings.SplitSeq(page, "\n## ") {
		name, body, _ := strings.Cut(s, "\n")
		sections[name] = body
	}
	public, hidden := 0, 0
	for _, c := range (&app{}).root().Commands() {
		body, there := sections[c.Name()]
		if c.Hidden {
			hidden++
			if there {
				t.Errorf("the role %s is in the reference", c.Name())
			}
			continue
		}
		public++
		if !there {
			t.Errorf("%s has no section", c.Name())
			continue
		}
		checkSection(t, c, body)
	}
	if public < 12 || hidden < 4 {
		t.Errorf("%d public commands and %d roles were looked at", public, hidden)
	}
	for _, code := range []string{"| 0 |", "| 1 |", "| 2 |", "| 64 |", "| 69 |", "| 70 |", "| 75 |", "| 130 |"} {
		if !strings.Contains(sections["Exit codes"], code) {
			t.Errorf("the table of exit codes lacks %s", code)
		}
	}
}

// checkSection fails unless the section of a command names its flags and shows its examples.
func checkSection(t *testing.T, c *cobra.Command, body string) {
	t.Helper()
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(body, "`--"+f.Name) && !strings.Contains(body, ", --"+f.Name) {
			t.Errorf("the section of %s does not name --%s:\n%s", c.Name(), f.Name, body)
		}
	})
	for line := range strings.SplitSeq(c.Example, "\n") {
		if !strings.Contains(body, strings.TrimSpace(line)) {
			t.Errorf("the section of %s lacks the example %q", c.Name(), line)
		}
	}
}

// TestEveryCommandChecksItsArguments keeps a surplus argument from being ignored.
func TestEveryCommandChecksItsArguments(t *testing.T) {
	t.Parallel()
	takesAny := map[string]bool{"run": true, "validate": true, "topology": true, "inject": true, "help": true, "fork-probe": true}
	var all func(*cobra.Command)
	n := 0
	all = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			n++
			if sub.Short == "" || sub.RunE == nil && sub.Run == nil {
				t.Errorf("%s has no description or does nothing", sub.CommandPath())
			}
			if !takesAny[sub.Name()] && (sub.Args == nil || sub.Args(sub, []string{"a", "b", "c"}) == nil) {
				t.Errorf("%s takes any number of arguments", sub.CommandPath())
			}
			all(sub)
		}
	}
	all((&app{}).root())
	if n < 15 {
		t.Errorf("only %d commands were looked at", n)
	}
}
