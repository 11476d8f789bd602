package cli

import (
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/discompose/discompose/internal/ui"
	"github.com/discompose/discompose/runner"
)

// live shows one run on standard error.
type live struct {
	ui    *ui.UI
	stop  context.CancelFunc
	done  sync.WaitGroup
	once  sync.Once
	clock func() time.Time
}

// newLive shows a run as o says.
func newLive(ctx context.Context, o ui.Options) *live {
	l := &live{clock: time.Now, ui: ui.New(o)}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.done.Go(func() { l.ui.Run(ctx) })
	return l
}

// width is the terminal's number of columns, or 0.
func width(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// Observe shows one event.
func (l *live) Observe(e runner.Event) {
	out := ui.Event{Kind: ui.Kind(e.Kind), Name: e.Name, Text: e.Text, OK: int64(e.OK), Errors: int64(e.Bad), Active: e.On}
	if e.Wait > 0 {
		out.Until = l.clock().Add(e.Wait)
	}
	l.ui.Event(out)
}

// Close ends the live output; it may be called twice.
func (l *live) Close() {
	l.once.Do(func() {
		l.stop()
		l.done.Wait()
		_ = l.ui.Close() // standard error is gone: there is nobody to tell
	})
}
