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

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
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
		"so the binary is read, hashed and looked up. *Bare*: a busybox container alone, created and started, without waiting for anything that it does: what the engine itself takes, in turn with ours."
	made, err := b.docker.NetworkCreate(ctx, "bench"+b.id, network.CreateOptions{Labels: map[string]string{agent.LabelRun: b.id}})
	if err != nil {
		return fmt.Errorf("create network: %w", err)
	}
	bareImage, err := b.firstImage(ctx, "busybox:latest", "alpine:3", "alpine:latest", "nginx:1.22")
	if err != nil {
		return err
	}
	var m starts
	for i := range startRuns {
		err := b.startBoth(ctx, i, made.ID, &m)
		if err == nil {
			err = b.startBare(ctx, bareImage, "none", &m.alone)
		}
		if err == nil {
			err = b.startBare(ctx, bareImage, made.ID, &m.connected)
		}
		if err != nil {
			return err
		}
	}
	if err := b.docker.NetworkRemove(ctx, made.ID); err != nil {
		return fmt.Errorf("remove network: %w", err)
	}
	b.say("agent %s, client %s, both %s", millis(m.agents.median()), millis(m.clients.median()), millis(m.both.median()))
	cold, warm, err := b.loads(ctx)
	if err != nil {
		return err
	}
	t := table{head: []string{"what", "n", "median", "p99", "max"}}
	for _, row := range []struct {
		what string
		took series
	}{
		{"agent: create to hello answered", m.agents},
		{"of it, after the engine has started the container", m.agentSpoke},
		{"client: create to first answer", m.clients},
		{"of it, after the engine has started the container", m.clientSpoke},
		{"both, in sequence", m.both},
		{"bare container without a network: create and start", m.alone},
		{"bare container in the network: create and start", m.connected},
		{"round trip over the stream (ping)", m.trips},
		{"image, cold", cold},
		{"image, warm", warm},
	} {
		t.add(append([]string{row.what}, row.took.cells()...)...)
	}
	s.tables = append(s.tables, t)
	s.note("The agent takes %.2f × as long as a bare container, the client %.2f ×.", m.agents.median()/m.alone.median(), m.clients.median()/m.connected.median())
	if info, err := os.Stat(b.bin); err == nil {
		s.note("The binary, which is all of the image, has %.1f MB.", float64(info.Size())/1e6)
	}
	b.report.bar("agent and client started and answering, image loaded", "< 500 ms together",
		fmt.Sprintf("%s median, %s at most (two bare containers: %s)", millis(m.both.median()), millis(m.both.max()), millis(m.alone.median()+m.connected.median())),
		yes(m.both.median() < agentBar))
	return nil
}

// startBare creates and starts a container, and waits until nothing of this program runs any more.
func (b *bench) startBare(ctx context.Context, image, net string, took *series) error {
	if err := b.noContainers(ctx); err != nil {
		return err
	}
	began := time.Now()
	c, err := b.docker.ContainerCreate(ctx, &container.Config{Image: image, Cmd: []string{"true"}, Labels: map[string]string{agent.LabelRun: b.id}},
		&container.HostConfig{NetworkMode: container.NetworkMode(net), AutoRemove: true}, nil, nil, "")
	if err != nil {
		return fmt.Errorf("create a bare container: %w", err)
	}
	if err := b.docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return fmt.Errorf("start a bare container: %w", err)
	}
	took.add(time.Since(began))
	return b.noContainers(ctx)
}

// starts are the series of the starts. What came after the engine's own answer is the process: it is loaded, initialised
// and asked.
type starts struct {
	agents, clients, both   series
	agentSpoke, clientSpoke series
	trips                   series
	alone, connected        series
}

// startBoth starts an agent and a client, and ends them again.
func (b *bench) startBoth(ctx context.Context, i int, net string, m *starts) (err error) {
	project := fmt.Sprintf("bench%s-%d", b.id, i)
	began := time.Now()
	a, _, err := agent.StartAgent(ctx, b.docker, agent.AgentOptions{Image: b.image, Name: runner.AgentName(project), Run: b.id, Project: project, Dir: b.dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(ctx, a, agent.OpBye)) }()
	started := time.Now()
	if err := a.Call(ctx, agent.OpHello, agent.Hello{Run: b.id, Project: project}, nil); err != nil {
		return fmt.Errorf("greet the agent: %w", err)
	}
	one := time.Since(began)
	m.agents.add(one)
	m.agentSpoke.add(time.Since(started))

	began = time.Now()
	c, _, err := agent.StartClient(ctx, b.docker, agent.ClientOptions{Image: b.image, Name: project + "-client", Run: b.id, Project: project, Networks: []string{net}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(ctx, c, "")) }()
	started = time.Now()
	if err := c.Call(ctx, workload.OpConfigure, workload.ClientConfig{}, nil); err != nil {
		return fmt.Errorf("configure the client: %w", err)
	}
	two := time.Since(began)
	m.clients.add(two)
	m.clientSpoke.add(time.Since(started))
	m.both.add(one + two)

	for range pings / startRuns {
		began = time.Now()
		if err := a.Call(ctx, agent.OpPing, nil, nil); err != nil {
			return fmt.Errorf("ping the agent: %w", err)
		}
		m.trips.add(time.Since(began))
	}
	return nil
}

// noContainers waits until the engine has removed what has ended, so that this does not slow the next start.
func (b *bench) noContainers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("containers of this program did not end within a minute"))
	defer cancel()
	for {
		list, err := b.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", agent.LabelRun+"="+b.id))})
		if err != nil {
			return fmt.Errorf("list containers: %w", err)
		}
		if len(list) == 0 {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
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
