package compose

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/command"
	"github.com/docker/compose/v5/pkg/api"
	sdk "github.com/docker/compose/v5/pkg/compose"
	moby "github.com/moby/moby/client"
)

// build builds the image of one service, under the name that the user's own stack gives it. It does so before the
// environment's deadline starts to run: a build may take longer than a start. Its error wraps ErrImage and ends with what
// the build printed last.
func (e *Environment) build(ctx context.Context, name string, progress func(Event)) error {
	s := e.project.p.Services[name]
	out := &lastLines{keep: 8}
	yes := func(string, bool) (bool, error) { return true, nil }
	service, err := sdk.NewComposeService(tidyCli{e.engine.cli}, sdk.WithStreams(out, out, strings.NewReader("")),
		sdk.WithPrompt(yes), sdk.WithEventProcessor(&progressBus{to: progress}))
	if err != nil {
		return fmt.Errorf("make compose service: %w", err)
	}
	seen := listen()
	defer seen.stop()
	err = service.Build(ctx, e.project.active(), api.BuildOptions{Services: []string{name}, Progress: "plain"})
	if err != nil {
		return fmt.Errorf("%w: build %s from %s: %w%s", ErrImage, s.Image, e.project.short(s.Build.Context), err, out.text())
	}
	if s.PullPolicy == types.PullPolicyBuild { // the SDK would build it once more
		s.PullPolicy = types.PullPolicyMissing
		e.project.p.Services[name] = s
	}
	return nil
}

// tidyCli is the SDK's way to the engine, whose builds leave no container behind when they fail.
type tidyCli struct{ command.Cli }

// Client implements command.Cli.
func (c tidyCli) Client() moby.APIClient { return tidyBuilds{c.Cli.Client()} }

type tidyBuilds struct{ moby.APIClient }

// ImageBuild implements moby.APIClient. Without ForceRemove the classic builder keeps the container of a step that failed.
func (b tidyBuilds) ImageBuild(ctx context.Context, archive io.Reader, o moby.ImageBuildOptions) (moby.ImageBuildResult, error) {
	o.ForceRemove = true
	return b.APIClient.ImageBuild(ctx, archive, o)
}

// colours are the control sequences in which the engine wraps what a step writes to standard error.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// lastLines is a writer that remembers the last lines that are not empty. It is safe for concurrent use.
type lastLines struct {
	keep  int
	mu    sync.Mutex
	lines []string
	open  []byte
}

// Write implements io.Writer.
func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, p...)
	for {
		line, rest, whole := bytes.Cut(l.open, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.add(string(line))
		l.open = bytes.Clone(rest)
	}
}

func (l *lastLines) add(line string) {
	if line = oneLine(colours.ReplaceAllString(line, "")); line == "" {
		return
	}
	l.lines = append(l.lines, line)
	l.lines = l.lines[max(0, len(l.lines)-l.keep):]
}

// text is the lines for the end of an error.
func (l *lastLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(string(l.open))
	l.open = nil
	var b strings.Builder
	for _, line := range l.lines {
		b.WriteString("\n  build: " + line)
	}
	return b.String()
}
