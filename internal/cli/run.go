package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/scenarios"
)

type runOptions struct {
	tags, set  []string
	seed       int64
	timeout    time.Duration
	limit      *time.Duration // of a nemesis; nil: the scenario's own
	keep       bool
	pull       string
	noFallback bool
	noAgent    bool
	toxiproxy  string
	runs       int
	summary    string
	junit      string
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	var limit time.Duration
	c := &cobra.Command{
		Use:   "run SCENARIO...",
		Short: "Run scenarios and judge what the system did",
		Long: `Run scenarios one after the other and judge what the system did. A name is a path, a file in ./scenarios, or a shipped
scenario, in this order. The timeline goes to standard error, the report to standard output and into the run directory.

Several runs end with a table, which summary-<time>.md in --runs-dir has too, and with the exit code that outranks the
others. With --runs each scenario runs that many times, whatever the runs come to: the first with the scenario's seed or
that of --seed, the others with seeds drawn from it. A seed that is printed makes the same run again, alone. The table
then ends with the share of runs that failed and its 95 % Wilson interval; an inconclusive run is counted apart.

In GitHub Actions (GITHUB_ACTIONS=true) the table is appended to the job's summary, and what did not pass is annotated at
the scenario's line.

The first Ctrl-C heals, reports and takes the environment down; the second does not wait for the report.`,
		Example: "  discompose run kafka_broker_pause\n  discompose run --tag kafka --timeout 10m\n  discompose run my.toml --set fault.freeze.for=3s\n  discompose run my.toml --runs 20 --seed 7 --junit junit.xml",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed(flagTimeLimit) {
				o.limit = &limit
			}
			return a.run(c.Context(), args, o, c.Flags().Changed("seed"))
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.tags, "tag", nil, "also every scenario with this `tag` (repeatable)")
	f.StringArrayVar(&o.set, "set", nil, "set a key of the scenario: `key=value`, as in workload.orders.rate=500 (repeatable)")
	f.Int64Var(&o.seed, "seed", 0, "seed of random choices, instead of the scenario's")
	f.IntVar(&o.runs, "runs", 1, "run each scenario `N` times, with seeds that differ")
	f.StringVar(&o.summary, "summary", "", "write the summary of all runs to this `file` (default: for several runs, in --runs-dir)")
	f.StringVar(&o.junit, "junit", "", "write all runs to this `file` as JUnit XML")
	f.DurationVar(&limit, flagTimeLimit, 0, timeLimitUsage)
	f.DurationVar(&o.timeout, "timeout", 0, "deadline of each scenario, heal and teardown included")
	f.BoolVar(&o.keep, "keep", false, "leave the environment up after the run")
	f.StringVar(&o.pull, "pull", "missing", "`when` to pull images: missing, always or never")
	f.BoolVar(&o.noFallback, "no-fallback", false, "never run a shipped environment on its embedded default (exit 69 instead)")
	f.BoolVar(&o.noAgent, "no-agent", false, "use the Docker API alone, as where the engine refuses the agent")
	f.StringVar(&o.toxiproxy, "toxiproxy-api", "", "open Toxiproxy's API over the links at this `address`, as in 127.0.0.1:8474; a change made through it makes the run inconclusive")
	return c
}

func (a *app) run(ctx context.Context, args []string, o runOptions, seeded bool) error {
	names, err := named(args, o.tags)
	if err != nil {
		return err
	}
	switch o.pull {
	case "missing", "always", "never":
	default:
		return &usageError{fmt.Errorf("--pull %q: use missing, always or never", o.pull)}
	}
	if err := loopback(o.toxiproxy); err != nil {
		return err
	}
	if o.runs < 1 {
		return &usageError{fmt.Errorf("--runs %d: use 1 or more", o.runs)}
	}
	all, err := readAll(ctx, names, o, seeded)
	if err != nil {
		return err
	}
	if err := makeFolders(o.summary, o.junit); err != nil {
		return err
	}
	heal := runner.HealOptions{Kinds: catalogue.All(), Log: a.logger(), Say: func(text string) { fmt.Fprintln(a.Err, "heal: "+text) }}
	if err := runner.HealStale(ctx, heal); err != nil {
		return err
	}
	todo := jobs(all, o.runs, func() int64 { return time.Now().UnixNano() & 0x7fffffff })
	done := a.carryOut(ctx, todo, o)
	cause := context.Cause(ctx)
	return errors.Join(a.summarise(todo, done, o, cause), didNotRun(todo, done, cause))
}

// readAll reads every scenario before anything is started; its error joins all that is wrong with any of them.
func readAll(ctx context.Context, names []string, o runOptions, seeded bool) ([]*scenarios.Scenario, error) {
	var all []*scenarios.Scenario
	var bad []error
	for _, name := range names {
		s, _, err := load(ctx, name, o.set)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if seeded {
			s.Seed = &o.seed
		}
		all = append(all, s)
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return all, limitNemeses(all, o.limit)
}

// loopback refuses an address at which others than the users of this machine could change a run.
func loopback(address string) error {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return &usageError{fmt.Errorf("--toxiproxy-api %q: write an address and a port, as in 127.0.0.1:8474", address)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return &usageError{fmt.Errorf("--toxiproxy-api %s: whoever reaches it can change the run: use the loopback, as in 127.0.0.1:%s", address, port)}
	}
	return nil
}

func (a *app) runOne(ctx context.Context, s *scenarios.Scenario, o runOptions) ending {
	live := a.live(ctx)
	defer live.Close()
	out := runner.Run(ctx, runner.Options{
		Scenario: s, Kinds: catalogue.All(), RunsDir: a.runsDir, Keep: o.keep, Pull: o.pull, Fallback: !o.noFallback, NoAgent: o.noAgent, Timeout: o.timeout,
		ToxiproxyAPI: o.toxiproxy,
		Version:      Version(), Args: os.Args, Observe: live.Observe, Log: a.logger(), Hurry: a.hurry,
	})
	live.Close()
	done := ending{begun: true}
	var rec *reports.Record // nil where the run directory tells nothing
	if out.Dir != "" {
		if r, err := reports.LoadContext(context.WithoutCancel(ctx), out.Dir); err == nil {
			rec, done.record = r, r.WithoutOps() // many runs may follow
		}
	}
	switch {
	case out.Judged && out.Err == nil && rec != nil:
		out.Err = reports.TextOptions{Color: a.color()}.Write(a.Out, rec)
	case out.Judged && out.Err == nil:
		fmt.Fprintf(a.Out, "%s (%s): %s\n", out.Judgement.Verdict, out.Judgement.Primary, s.Name)
	case out.Err != nil:
		fmt.Fprintf(a.Err, "discompose: %s: %v\n", s.Name, out.Err)
	}
	if out.Dir != "" {
		fmt.Fprintf(a.Err, "run directory: %s\n", out.Dir)
	}
	if o.keep && out.Dirty == nil && out.Dir != "" {
		fmt.Fprintf(a.Err, "its environment is kept; to remove it: discompose heal %s\n", out.Dir)
	}
	if out.Dirty != nil {
		fmt.Fprintf(a.Err, "discompose: the environment is left dirty: %v\ndiscompose: run: discompose heal %s\n", out.Dirty, out.Dir)
	}
	done.outcome = out
	return done
}
