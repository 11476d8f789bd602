// Package cli provides the command line: one file per command, and the only place that maps errors to exit codes.
//
// It is the only package that knows the command library. Every command is an options struct, a constructor, and a
// function that runs it. Main is called once for each process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/fatih/color"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/discompose/discompose/internal/ui"
	"github.com/discompose/discompose/reports"
	"github.com/discompose/discompose/runner"
)

// Streams are the process' standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every command is given.
type app struct {
	Streams
	runsDir string
	noColor bool
	verbose bool
	started bool            // a command was found and its arguments taken: errors before that are the user's
	exit    Exit            // what a command that ended without an error exits with
	hurry   context.Context // ends at the second SIGINT
	github  *reports.GitHub // nil outside of GitHub Actions
	image   *runner.ImageOnce
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, s Streams) (code Exit) {
	a := &app{Streams: s, github: github(), image: &runner.ImageOnce{}}
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(s.Err, "discompose: bug: %v\n%s\nThis is a bug in discompose. `discompose heal --all` undoes what the run left.\n", p, debug.Stack())
			code = ExitBug
		}
	}()
	ctx, a.hurry = signals(ctx)
	root := a.root() //nolint:contextcheck // ExecuteContext hands ctx to the command
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.exit
	}
	if usage := new(usageError); !a.started && !errors.As(err, &usage) {
		err = &usageError{fmt.Errorf("%w\nsee discompose --help", err)} // the library's own: an unknown command
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(err, cause)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(s.Err, "discompose: "+line)
		}
	}
	return Worst(exitOf(err), a.exit)
}

// signals cancels the first context with runner.ErrInterrupted at the first SIGINT or SIGTERM, and the second context at
// the second one.
func signals(parent context.Context) (ctx, hurry context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	hurry, hurried := context.WithCancel(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ch
		cancel(runner.ErrInterrupted)
		<-ch
		hurried()
	}()
	return ctx, hurry
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "discompose",
		Short: "Disturb a Docker Compose environment and judge what it did",
		Long: `discompose starts a Docker Compose environment, applies faults to it from a TOML scenario while a workload runs, checks
every acknowledged operation against a ledger, and ends with a verdict and a report.

Exit codes: 0 pass, 1 fail, 2 inconclusive, 64 bad flags or scenario, 69 no engine or environment never ready,
70 a bug in discompose, 75 something could not be undone (run the heal command that is printed), 130 interrupted.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
	}
	root.Flags().Bool("version", false, "print the version and commit, as discompose version does")
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.PersistentFlags().StringVar(&a.runsDir, "runs-dir", "runs", "`folder` of the run directories")
	root.PersistentFlags().BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR does the same)")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what is seen, not only what changes")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.PersistentPreRun = func(*cobra.Command, []string) {
		a.started = true
		if a.noColor {
			color.NoColor = true
		}
	}
	root.AddCommand(a.runCommand(), a.injectCommand(), a.newCommand(), a.planCommand(), a.validateCommand(), a.topologyCommand(), a.listCommand(), a.faultsCommand(), a.doctorCommand(),
		a.checkCommand(), a.reportCommand(), a.healCommand(), a.pruneCommand(), a.versionCommand())
	root.AddCommand(a.hidden()...)
	strictBuiltins(root)
	return root
}

// strictBuiltins makes the library's own commands refuse what they do not know: by themselves they print help and succeed.
func strictBuiltins(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Use, c.Long, c.Run = "help [COMMAND]", "", nil
			c.RunE = func(c *cobra.Command, args []string) error {
				about, _, err := c.Root().Find(args)
				if err != nil {
					return &usageError{fmt.Errorf("no help on %q: there is no such command", strings.Join(args, " "))}
				}
				about.InitDefaultHelpFlag()
				return about.Help()
			}
		case "completion":
			c.Short = "Print a script that completes commands and flags in a shell"
			c.Long = "Print a script that completes commands and flags in a shell; --help of each shell's command says how to load it."
			c.Args = usageArgs(cobra.NoArgs)
			c.RunE = func(*cobra.Command, []string) error {
				return &usageError{errors.New("name a shell: bash, zsh, fish or powershell")}
			}
		}
	}
}

// logger makes a logger that writes lines.
func (a *app) logger(to io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: level}))
}

// terminal reports whether a writer is a terminal that understands control codes.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// color reports whether standard output is to be coloured.
func (a *app) color() bool { return ui.WantColor(terminal(a.Out), a.noColor, os.Getenv) }

// usageArgs wraps a cobra check so that its errors exit 64.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
		}
		return nil
	}
}
