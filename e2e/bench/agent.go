package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/runner"
	"github.com/discompose/discompose/workload"
)

const (
	agentBar   = 500.0 // ms
	startRuns  = 20
	imageColds = 4
	imageWarms = 10
	pings      = 2000
)

// agents measures what it takes until agent and client answer.
func (b *bench) agents(ctx context.Context, s *section) error {
	s.title = "Agent, client and image"
	s.text = "*Agent*: from the call that creates its container until its hello is answered, the probe of the host included. *Client*: from the call that creates its container, in one bridge network, " +
		"until it has answered its configuration. *Both*: one after the other, as the runner starts them. The image is loaded before. *Cold*: a binary that the engine has never seen; *warm*: the image is there, " +
		"so the binary is read, hashed and looked up."
	made, err := b.docker.NetworkCreate(ctx, "bench"+b.id, network.CreateOptions{Labels: map[string]string{agent.LabelRun: b.id}})
	if err != nil {
		return fmt.Errorf("create network: %w", err)
	}
	var agents, clients, both, trips series
	for i := range startRuns {
		one, two, err := b.startBoth(ctx, i, made.ID, &trips)
		if err != nil {
			return err
		}
		agents.add(one)
		clients.add(two)
		both.add(one + two)
	}
	if err := b.docker.NetworkRemove(ctx, made.ID); err != nil {
		return fmt.Errorf("remove network: %w", err)
	}
	b.say("agent %s, client %s, both %s", millis(agents.median()), millis(clients.median()), millis(both.median()))
	cold, warm, err := b.loads(ctx)
	if err != nil {
		return err
	}
	t := table{head: []string{"what", "n", "median", "p99", "max"}}
	t.add(append([]string{"agent: create to hello answered"}, agents.cells()...)...)
	t.add(append([]string{"client: create to first answer"}, clients.cells()...)...)
	t.add(append([]string{"both, in sequence"}, both.cells()...)...)
	t.add(append([]string{"round trip over the stream (ping)"}, trips.cells()...)...)
	t.add(append([]string{"image, cold"}, cold.cells()...)...)
	t.add(append([]string{"image, warm"}, warm.cells()...)...)
	s.tables = append(s.tables, t)
	if info, err := os.Stat(b.bin); err == nil {
		s.note("The binary, which is all of the image, has %.1f MB.", float64(info.Size())/1e6)
	}
	b.report.bar("agent and client started and answering, image loaded", "< 500 ms together",
		fmt.Sprintf("%s median, %s at most", millis(both.median()), millis(both.max())), yes(both.median() < agentBar))
	return nil
}

// startBoth starts an agent and a client, and ends them again.
func (b *bench) startBoth(ctx context.Context, i int, net string, trips *series) (one, two time.Duration, err error) {
	project := fmt.Sprintf("bench%s-%d", b.id, i)
	began := time.Now()
	a, _, err := agent.StartAgent(ctx, b.docker, agent.AgentOptions{Image: b.image, Name: runner.AgentName(project), Run: b.id, Project: project, Dir: b.dir})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, end(ctx, a, agent.OpBye)) }()
	if err := a.Call(ctx, agent.OpHello, agent.Hello{Run: b.id, Project: project}, nil); err != nil {
		return 0, 0, fmt.Errorf("greet the agent: %w", err)
	}
	one = time.Since(began)
	began = time.Now()
	c, _, err := agent.StartClient(ctx, b.docker, agent.ClientOptions{Image: b.image, Name: project + "-client", Run: b.id, Project: project, Networks: []string{net}})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, end(ctx, c, "")) }()
	if err := c.Call(ctx, workload.OpConfigure, workload.ClientConfig{}, nil); err != nil {
		return 0, 0, fmt.Errorf("configure the client: %w", err)
	}
	two = time.Since(began)
	for range pings / startRuns {
		began = time.Now()
		if err := a.Call(ctx, agent.OpPing, nil, nil); err != nil {
			return 0, 0, fmt.Errorf("ping the agent: %w", err)
		}
		trips.add(time.Since(began))
	}
	return one, two, nil
}

// end says good-bye, where there is a word for it, and waits until the container has ended.
func end(ctx context.Context, c *agent.Conn, bye string) error {
	var err error
	if bye != "" {
		err = c.Call(ctx, bye, nil, nil)
	}
	err = errors.Join(err, c.Close())
	select {
	case <-c.Done():
		return err
	case <-ctx.Done():
		return errors.Join(err, context.Cause(ctx))
	}
}

// loads measures the image: each cold one is of a copy of the binary that differs in bytes behind its end.
func (b *bench) loads(ctx context.Context) (cold, warm series, err error) {
	for i := range imageColds {
		path := filepath.Join(b.dir, fmt.Sprintf("discompose-%d", i))
		if err := variant(b.bin, path); err != nil {
			return nil, nil, err
		}
		began := time.Now()
		img, err := agent.EnsureImage(ctx, b.docker, path, nil)
		took := time.Since(began)
		if err != nil {
			return nil, nil, fmt.Errorf("load the image cold: %w", err)
		}
		cold.add(took)
		_, err = b.docker.ImageRemove(ctx, img.Ref, image.RemoveOptions{PruneChildren: true})
		if err = errors.Join(err, os.Remove(path)); err != nil {
			return nil, nil, fmt.Errorf("remove the image: %w", err)
		}
		if !img.Loaded {
			return nil, nil, errors.New("load the image cold: it was there")
		}
	}
	for range imageWarms {
		began := time.Now()
		if _, err := agent.EnsureImage(ctx, b.docker, b.bin, nil); err != nil {
			return nil, nil, fmt.Errorf("look the image up: %w", err)
		}
		warm.add(time.Since(began))
	}
	b.say("image cold %s, warm %s", millis(cold.median()), millis(warm.median()))
	return cold, warm, nil
}

// variant copies an executable and appends random bytes, which the system does not load.
func variant(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy the binary: %w", err)
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy the binary: %w", err)
	}
	_, err = io.Copy(out, in)
	if err == nil {
		_, err = io.CopyN(out, rand.Reader, 16)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy the binary: %w", err)
	}
	return nil
}
