package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/faults"
	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/internal/ui"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

type injectOptions struct {
	project string
	hold    string // --for, as the scenario language reads it
	pick    string
	seed    *int64 // nil: drawn
	dryRun  bool
}

func (a *app) injectCommand() *cobra.Command {
	var o injectOptions
	var seed int64
	c := &cobra.Command{
		Use:   "inject KIND TARGET [key=value...]",
		Short: "Apply one fault to a running project, show that it works, and undo it",
		Long: `Apply one fault to a Compose project that runs already: wait for its witness, hold it for its time, undo it, and wait until
the witness is gone. There is no workload and no verdict. Kinds, targets and keys are those of [[fault]] in a scenario
(discompose faults KIND explains one); kinds that hold need --for, and those with a down time take down=5s instead.

The project is that of --project, else what docker compose would take in this folder (COMPOSE_PROJECT_NAME, or its Compose
file), else the only one that runs. Nothing in it is created, recreated or removed. A fault on a link (web->db:5432) resets
the connections that are open, once, so that new ones pass the proxy, with which they end; without traffic it has no witness.

Ctrl-C undoes the fault at once; a second one changes nothing, for the undo is never cut short. If this process is killed,
the agent undoes it; discompose heal does too.

Exit codes: 0 the witness was seen and is gone, 2 no witness, or not supported here, 64 bad arguments, 69 no engine or no
such project, 75 it could not be undone (run the heal command that is printed), 130 interrupted and undone.`,
		Example: `  discompose inject pause kafka --for 10s
  discompose inject kill app down=5s
  discompose inject latency 'web->db:5432' delay=250ms jitter=50ms --for 20s
  discompose inject partition db against=app --for 5s -p shop
  discompose inject stop 'worker' down=3s --pick one --dry-run`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed(flagSeed) {
				o.seed = &seed
			}
			return a.inject(c.Context(), args, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.project, "project", "p", "", "the running Compose project, by its `name`")
	f.StringVar(&o.hold, "for", "", "how long it holds, from its witness: a `duration` such as 10s")
	f.StringVar(&o.pick, "pick", "", "`which` of the target's containers, or links: one, minority, majority or all (default all)")
	f.Int64Var(&seed, flagSeed, 0, "seed of --pick (default: drawn and told)")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would happen; the engine is asked for the project's services, and nothing is changed")
	return c
}

func (a *app) inject(ctx context.Context, args []string, o injectOptions) error {
	call := injection{kind: args[0], target: args[1], params: args[2:], hold: o.hold, pick: o.pick}
	if o.seed == nil {
		drawn := time.Now().UnixNano() & 0x7fffffff
		o.seed = &drawn
	}
	// What is wrong with the arguments is told before any engine is asked.
	if _, err := call.scenario("project"); err != nil {
		return err
	}
	project, err := findProject(ctx, o.project)
	if err != nil {
		return err
	}
	s, err := call.scenario(project)
	if err != nil {
		return err
	}
	s.Seed = o.seed
	opts := runner.Options{Scenario: s, Kinds: catalogue.All(), RunsDir: a.runsDir, Version: Version(), Args: os.Args, Log: a.logger(a.Err), Hurry: a.hurry}
	plan, err := runner.PlanInjection(ctx, opts)
	if err != nil {
		return call.explain(err)
	}
	if o.dryRun {
		fmt.Fprint(a.Out, plan.Injection())
		return nil
	}
	heal := runner.HealOptions{Kinds: opts.Kinds, Log: opts.Log, Say: func(text string) { fmt.Fprintln(a.Err, "heal: "+text) }}
	if err := runner.HealStale(ctx, heal); err != nil {
		return err
	}
	if p := o.pick; p != "" && p != "all" {
		fmt.Fprintf(a.Err, "--pick %s by --seed %d\n", p, *o.seed)
	}
	return a.carryOutInjection(ctx, call, opts)
}

// carryOutInjection applies the fault, shows it on standard output, and tells how it ended.
func (a *app) carryOutInjection(ctx context.Context, call injection, opts runner.Options) error {
	live := newLive(ctx, a.shownOn(a.Out))
	defer live.Close()
	opts.Observe = (&injectionView{live: live, scenario: opts.Scenario}).show
	out := runner.Inject(ctx, opts)
	if out.Left.Containers > 0 {
		live.ui.Event(ui.Event{Kind: ui.Note, Text: fmt.Sprintf("%s: %s", out.Project, out.Left)})
	}
	live.Close()
	a.exit = exitOfInjection(out)
	a.tellInjection(call, opts.Scenario.Fault[0].Spec.Family, out)
	return nil
}

// tellInjection tells, on standard error, what went wrong and where the run directory is.
func (a *app) tellInjection(call injection, family faults.Family, out runner.Injected) {
	switch {
	case out.Err == nil:
	case errors.Is(out.Err, runner.ErrInterrupted) && len(out.Faults) == 0:
		fmt.Fprintln(a.Err, "discompose: interrupted before the fault began")
	case errors.Is(out.Err, runner.ErrInterrupted) && out.Dirty == nil:
		fmt.Fprintln(a.Err, "discompose: interrupted; the fault was undone early")
	default:
		for line := range strings.SplitSeq(call.explain(out.Err).Error(), "\n") {
			fmt.Fprintln(a.Err, "discompose: "+line)
		}
	}
	if errors.Is(out.Err, runner.ErrUnproven) && family == faults.Link {
		fmt.Fprintln(a.Err, "discompose: a fault on a link shows in traffic alone: make requests while it lasts, or choose a link that is used (discompose topology --observe "+out.Project+")")
	}
	if out.Dir != "" {
		fmt.Fprintf(a.Err, "run directory: %s\n", out.Dir)
	}
	if out.Dirty != nil {
		fmt.Fprintf(a.Err, "discompose: the project is left dirty: %v\ndiscompose: run: discompose heal %s\n", out.Dirty, filepath.ToSlash(out.Dir))
	}
}

// injectionView shows the events of one injection. Its methods are called by several goroutines.
type injectionView struct {
	live     *live
	scenario *scenarios.Scenario
	seen     atomic.Bool // a witness was
}

func (v *injectionView) show(e runner.Event) {
	out := ui.Event{Kind: ui.Kind(e.Kind), Name: e.Name, Text: e.Text}
	switch e.Kind {
	case runner.EventStage:
		switch e.Name {
		case "prepare":
			out.Text = "project " + v.scenario.Environment.Attach
		case "inject":
			out.Zero = true
		default:
			return
		}
	case runner.EventWitness:
		out.Kind, out.Text = ui.Seen, v.measured(e)
		if hold := v.scenario.Fault[0].For; e.On && hold != nil {
			out.Until, out.Next = v.live.clock().Add(hold.Std()), "undone"
		}
	case runner.EventFault:
		return // its witnesses tell of it
	case runner.EventWarn:
		if e.Name != "" {
			return // what went wrong with the fault is told at the end
		}
	case runner.EventStep, runner.EventProgress, runner.EventNote, runner.EventTick:
	}
	v.live.ui.Event(out)
}

// measured is the sentence about a witness.
func (v *injectionView) measured(e runner.Event) string {
	what := "gone"
	switch {
	case e.On:
		v.seen.Store(true)
		what = "witnessed"
	case !v.seen.Load():
		what = "undone"
	}
	return fmt.Sprintf("%s after %s: %s", what, e.Offset.Round(time.Millisecond), e.Text)
}
