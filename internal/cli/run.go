package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/faults/catalogue"
	"github.com/discompose/discompose/runner"
)

type runOptions struct {
	tags, set  []string
	all        bool
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
	parallel   parallel
	resume     bool

	anyOrder bool // the user did not give one
	lanes    int  // how many runs go on at a time
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	var limit time.Duration
	c := &cobra.Command{
		Use:   "run SCENARIO...",
		Short: "Run scenarios and judge what the system did",
		Long: `Run scenarios one after the other and judge what the system did. A name is a path, a file in ./scenarios, or a shipped
scenario, in this order. The timeline goes to standard error, the report to standard output and into the run directory.

Scenarios that say fresh = false in equal [environment] tables use one environment, where they follow one another: after a
run that passed it stays up for the next, if it stands as it was started; else the next starts its own, and its report says
why. With --tag or --all such scenarios are put together; otherwise the order is yours.

With --parallel several runs go on at a time, each in an environment of its own. The lines of their timelines begin with the
scenario's name, and each report is printed in one piece.

Several runs end with a table, which summary-<time>.md in --runs-dir has too, with the time that they took and the share of
it that was the scenarios' own waiting, and with the exit code that outranks the others. With --runs each scenario runs that
many times, whatever the runs come to: the first with the scenario's seed or that of --seed, the others with seeds drawn
from it. A seed that is printed makes the same run again, alone. The table then ends with the share of runs that failed and
its 95 % Wilson interval; an inconclusive run is counted apart.

In GitHub Actions (GITHUB_ACTIONS=true) the table is appended to the job's summary, and what did not pass is annotated at
the scenario's line.

The first Ctrl-C heals, reports and takes the environment down; the second does not wait for the report.`,
		Example: "  discompose run kafka_broker_pause\n  discompose run --tag kafka --timeout 10m\n  discompose run --all --parallel auto --resume\n  discompose run my.toml --set fault.freeze.for=3s\n  discompose run my.toml --runs 20 --seed 7 --junit junit.xml",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed(flagTimeLimit) {
				o.limit = &limit
			}
			return a.run(c.Context(), args, o, c.Flags().Changed(flagSeed))
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.tags, "tag", nil, "also every scenario with this `tag` (repeatable)")
	f.BoolVar(&o.all, "all", false, "also every shipped scenario, those of the kinds included")
	f.StringArrayVar(&o.set, "set", nil, "set a key of the scenario: `key=value`, as in workload.orders.rate=500 (repeatable)")
	f.Int64Var(&o.seed, flagSeed, 0, seedUsage)
	f.IntVar(&o.runs, "runs", 1, "run each scenario `N` times, with seeds that differ")
	f.BoolVar(&o.resume, "resume", false, "leave out what has passed before: the same build, scenario and Compose files, and where it is given the same seed, in --runs-dir")
	f.Var(&o.parallel, "parallel", "carry out up to `N` runs at a time, bounded by the memory of the engine's host and by twice its cores; auto: as many as it has cores")
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
	names, err := named(args, o.tags, o.all)
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
	if o.parallel.many() && o.toxiproxy != "" {
		return &usageError{errors.New("--toxiproxy-api with --parallel: one address cannot stand for several runs; leave one of them out")}
	}
	all, err := a.readAll(ctx, names, o, seeded)
	if err != nil {
		return err
	}
	if err := makeFolders(o.summary, o.junit); err != nil {
		return err
	}
	heal := runner.HealOptions{Kinds: catalogue.All(), Log: a.logger(a.Err), Say: func(text string) { fmt.Fprintln(a.Err, "heal: "+text) }}
	if err := runner.HealStale(ctx, heal); err != nil {
		return err
	}
	if o.anyOrder = o.all || len(o.tags) > 0; o.anyOrder {
		all = together(all)
	}
	todo := jobs(all, o.runs, func() int64 { return time.Now().UnixNano() & 0x7fffffff })
	done := make([]ending, len(todo))
	if o.resume {
		if done, err = a.before(ctx, todo); err != nil {
			return err
		}
	}
	o.lanes = a.lanes(ctx, left(todo, done), o.parallel)
	a.carryOut(ctx, todo, done, o)
	cause := context.Cause(ctx)
	return errors.Join(a.summarise(todo, done, o, cause), didNotRun(todo, done, cause))
}

// readAll reads every scenario before anything is started; its error joins all that is wrong with any of them.
func (a *app) readAll(ctx context.Context, names []string, o runOptions, seeded bool) ([]given, error) {
	var all []given
	var bad []error
	for _, name := range names {
		s, p, err := load(ctx, name, o.set)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		a.doubts(s, p)
		if seeded {
			s.Seed = &o.seed
		}
		g := given{Scenario: s}
		if p != nil { // it was not attached
			g.memory = p.MemoryNeed()
		}
		var errs [2]error
		g.environment, errs[0] = runner.EnvironmentKey(s, p)
		g.digest, errs[1] = runner.Digest(s, p)
		bad = append(bad, errs[:]...)
		all = append(all, g)
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
