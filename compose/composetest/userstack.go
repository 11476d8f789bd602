package composetest

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	sdk "github.com/docker/compose/v5/pkg/compose"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// UserUp brings up the compose.yaml of a folder as the user's own `docker compose up --wait` does, by Docker's SDK alone:
// nothing of it is a run's. It is taken down, volumes included, when the test ends.
func UserUp(tb testing.TB, dir, name string) {
	tb.Helper()
	e, s := Engine(tb), userCompose(tb)
	project, err := s.LoadProject(tb.Context(), api.ProjectLoadOptions{
		ProjectName: name, WorkingDir: dir, ConfigPaths: []string{filepath.Join(dir, "compose.yaml")}, Offline: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
		defer cancel()
		if err := s.Down(ctx, name, api.DownOptions{Project: project, Volumes: true, RemoveOrphans: true}); err != nil {
			tb.Errorf("take the user's stack down: %v", err)
		}
		// Down looks for nothing where there is no container, as after an Up that made networks alone.
		list, err := e.Docker().NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", api.ProjectLabel+"="+name))})
		for _, n := range list {
			err = errors.Join(err, e.Docker().NetworkRemove(ctx, n.ID))
		}
		if err != nil {
			tb.Errorf("remove the user's networks: %v", err)
		}
	})
	err = s.Up(tb.Context(), project, api.UpOptions{
		Create: api.CreateOptions{QuietPull: true, Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged},
		Start:  api.StartOptions{Project: project, Wait: true, WaitTimeout: 2 * time.Minute},
	})
	if err != nil {
		tb.Fatalf("bring the user's stack up: %v", err)
	}
}

// userCompose is Docker Compose without a terminal.
func userCompose(tb testing.TB) api.Compose {
	tb.Helper()
	cli, err := command.NewDockerCli(command.WithBaseContext(tb.Context()), command.WithCombinedStreams(io.Discard), command.WithInputStream(io.NopCloser(strings.NewReader(""))))
	if err == nil {
		err = cli.Initialize(flags.NewClientOptions())
	}
	if err != nil {
		tb.Fatal(err)
	}
	s, err := sdk.NewComposeService(cli, sdk.WithStreams(io.Discard, io.Discard, strings.NewReader("")))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
