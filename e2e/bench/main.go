// Command bench measures discompose on this machine and writes docs/BENCHMARKS.md: what `make bench` calls.
//
// It needs a local Docker engine, bin/discompose, and the images of the shipped environments nginx and kafka. Everything
// that it makes on the engine carries the label io.discompose.run with an id of its own, or that of a run that it
// started, and is removed at the end, also after an interrupt. If it is killed, its agent removes what it can.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/compose"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	isRole, err := roleOf(ctx, os.Args[1:])
	if !isRole {
		err = run(ctx, os.Args[1:], os.Stderr)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	commit, bin, out string
	only             []string
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&o.commit, "commit", "unknown", "commit that is measured, for the report")
	set.StringVar(&o.bin, "bin", "bin/discompose", "the binary to measure")
	set.StringVar(&o.out, "out", "docs/BENCHMARKS.md", "where the report goes")
	only := set.String("only", "", "measure these alone, print them, and write no file: "+strings.Join(names(), ","))
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("-only %s: there is no such part (there are: %s)", name, strings.Join(names(), ", "))
		}
	}
	return o, nil
}

// part is one section of the report.
type part struct {
	name string
	do   func(*bench, context.Context, *section) error
}

// parts are in the order in which they run: those that need quiet memory first.
func parts() []part {
	return []part{
		{"rows", (*bench).rows},
		{"check", (*bench).logCheck},
		{"checks", (*bench).checks},
		{"recording", (*bench).recording},
		{"links", (*bench).links},
		{"faults", (*bench).faults},
		{"agent", (*bench).agents},
		{"cuts", (*bench).cuts},
		{"timeline", (*bench).timeline},
		{"overhead", (*bench).overhead},
		{"kill", (*bench).kills},
	}
}

func names() []string {
	var out []string
	for _, p := range parts() {
		out = append(out, p.name)
	}
	return out
}

// bench is what every part works with.
type bench struct {
	engine *compose.Engine
	docker *client.Client
	bin    string // absolute path of the binary
	image  string // of the binary, loaded
	id     string // label of what bench itself makes, 8 hex digits like a run's
	dir    string // scratch, on the file system of run directories; absolute
	report *report
	log    io.Writer
	began  time.Time
	runs   []string // ids of runs of the binary
}

func run(ctx context.Context, args []string, log io.Writer) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	b, err := open(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	var failed []error
	for _, p := range parts() {
		if len(o.only) > 0 && !slices.Contains(o.only, p.name) {
			continue
		}
		if err := b.measure(ctx, p); err != nil {
			failed = append(failed, fmt.Errorf("measure %s: %w", p.name, err))
		}
		if ctx.Err() != nil {
			return errors.Join(failed...)
		}
	}
	b.report.took = time.Since(b.began)
	if len(o.only) > 0 {
		failed = append(failed, b.report.write(os.Stdout))
		return errors.Join(failed...)
	}
	failed = append(failed, writeFile(o.out, b.report))
	b.say("written: %s", o.out)
	return errors.Join(failed...)
}

// measure runs one part; a part that fails is in the report with its reason.
func (b *bench) measure(ctx context.Context, p part) error {
	began := time.Now()
	b.say("%s …", p.name)
	s := &section{title: p.name}
	b.report.sections = append(b.report.sections, s)
	err := p.do(b, ctx, s)
	if err != nil {
		s.note("It could not be measured to its end: %v.", err)
		b.report.bar(s.title, "", "", "not measured")
	}
	b.say("%s took %.0f s", p.name, time.Since(began).Seconds())
	debug.FreeOSMemory()
	return err
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.log, "[%4.0f s] %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func open(ctx context.Context, o options, log io.Writer) (b *bench, err error) {
	load := loadAverage()
	b = &bench{report: &report{}, log: log, began: time.Now()}
	if b.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, fmt.Errorf("find the binary: %w", err)
	}
	if _, err := os.Stat(b.bin); err != nil {
		return nil, fmt.Errorf("find the binary: %w: run make build first", err)
	}
	raw := make([]byte, 4)
	_, _ = rand.Read(raw) // crypto/rand never fails on the supported systems
	b.id = hex.EncodeToString(raw)
	if err := os.MkdirAll("runs", 0o755); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	dir, err := os.MkdirTemp("runs", ".bench-")
	if err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find scratch folder: %w", err)
	}
	if b.engine, err = compose.Connect(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	b.docker = b.engine.Docker()
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	if b.report.machine, err = machine(ctx, b.engine, o.commit, b.dir, load); err != nil {
		return nil, err
	}
	image, err := agent.EnsureImage(ctx, b.docker, b.bin, func(text string) { b.say("%s", text) })
	if err != nil {
		return nil, fmt.Errorf("load the image: %w", err)
	}
	b.image = image.Ref
	return b, nil
}

// close removes whatever is left on the engine and on disk.
func (b *bench) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, id := range append(b.runs, b.id) {
		errs = append(errs, compose.RemoveRun(ctx, b.docker, id))
	}
	return errors.Join(append(errs, b.engine.Close(), os.RemoveAll(b.dir))...)
}

func writeFile(path string, r *report) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return errors.Join(r.write(f), f.Close())
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
