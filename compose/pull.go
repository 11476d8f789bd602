package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/docker/api/types/image"
)

// pull pulls an image, with the credentials of the user's Docker configuration, and gives up where nothing changes for
// o.NoProgress. Its errors wrap ErrImage.
func (e *Environment) pull(ctx context.Context, o PreflightOptions, ref, platform string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := time.AfterFunc(o.NoProgress, func() { cancel(fmt.Errorf("no progress for %s", o.NoProgress)) })
	defer stuck.Stop()
	report := func(action, detail string) {
		if o.Progress != nil {
			o.Progress(Event{Time: time.Now().UnixNano(), Name: ref, Action: action, Detail: detail})
		}
	}
	report("Pulling", "pulling")
	err := e.pullStream(ctx, ref, platform, func(m pullMessage) {
		stuck.Reset(o.NoProgress)
		report("Pulling", m.text())
	})
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		report("Pulled", "pulled")
		return nil
	}
	return fmt.Errorf("%w: pull %s: %w", ErrImage, ref, err)
}

// pullMessage is one message of the engine while it pulls.
type pullMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

func (m pullMessage) text() string {
	if m.Progress.Total > 0 {
		return fmt.Sprintf("%s: %s %d %%", m.ID, m.Status, 100*m.Progress.Current/m.Progress.Total)
	}
	if m.ID != "" {
		return m.ID + ": " + m.Status
	}
	return m.Status
}

// pullStream pulls and calls news for each message that differs from the last of its layer.
func (e *Environment) pullStream(ctx context.Context, ref, platform string, news func(pullMessage)) error {
	auth, err := command.RetrieveAuthTokenFromImage(e.engine.config, ref)
	if err != nil {
		auth = "" // a broken credential helper must not hide a public image
	}
	stream, err := e.engine.docker.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: platform})
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // it is only read
	last := map[string]pullMessage{}
	for d := json.NewDecoder(stream); ; {
		var m pullMessage
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Error.Message != "" {
			return errors.New(m.Error.Message)
		}
		if last[m.ID] != m {
			last[m.ID] = m
			news(m)
		}
	}
}
