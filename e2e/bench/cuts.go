package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/runner"
)

const (
	cutRounds = 60
	cutBar    = 5.0 // ms
)

// cutNumbers are the calls of a run's whole path: from the runner over the agent's stream to the process that has proxies
// and rules, and back.
type cutNumbers struct {
	add, remove, cut, uncut series
}

// cuts measures a toxic and a partition from decision to effect, and back, on two containers and a link between them.
func (b *bench) cuts(ctx context.Context, s *section) (err error) {
	s.title = "A toxic and a partition"
	s.text = "From the runner's call until its answer, over the agent's stream and the process that has proxies and rules: the change is in force by then. A *toxic* is put on a link, through Toxiproxy's API, and taken off; " +
		"a *partition* is put between two containers and ended. After each answer datagrams are sent across: none of them arrives, or all of them do. Ending a partition waits for the kernel, which frees rules only when no packet can see them; " +
		"packets pass before that."
	images, err := b.firstImage(ctx, "busybox:latest", "alpine:3", "alpine:latest") // with an httpd
	if err != nil {
		return err
	}
	project := "benchcut" + b.id
	net, err := b.docker.NetworkCreate(ctx, project, network.CreateOptions{Labels: map[string]string{agent.LabelRun: b.id}})
	if err != nil {
		return fmt.Errorf("create network: %w", err)
	}
	a, _, err := agent.StartAgent(ctx, b.docker, agent.AgentOptions{Image: b.image, Name: runner.AgentName(project), Run: b.id, Project: project, Dir: b.dir})
	if err != nil {
		return err
	}
	var ids []string
	defer func() {
		err = errors.Join(err, end(ctx, a, agent.OpBye))
		for _, id := range ids {
			err = errors.Join(err, b.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}))
		}
		err = errors.Join(err, b.noContainers(ctx), b.docker.NetworkRemove(ctx, net.ID))
	}()
	start := agent.NetStart{Run: b.id, Project: project, Links: []agent.Edge{{Name: "a->b:80", From: "a", To: "b", Port: 80}}}
	if err := errors.Join(a.Call(ctx, agent.OpHello, agent.Hello{Run: b.id, Project: project}, nil), a.Call(ctx, agent.OpNetStart, start, nil)); err != nil {
		return fmt.Errorf("start routing: %w", err)
	}
	for _, name := range []string{"a", "b"} {
		c, err := b.docker.ContainerCreate(ctx, &container.Config{
			Image: images, Entrypoint: []string{"httpd", "-f", "-p", "80"}, // a port that is closed would be passed by
			Labels: map[string]string{agent.LabelRun: b.id, "com.docker.compose.project": project, "com.docker.compose.service": name},
		}, &container.HostConfig{NetworkMode: container.NetworkMode(net.ID)}, nil, nil, "")
		if err != nil {
			return fmt.Errorf("create container: %w", err)
		}
		ids = append(ids, c.ID)
		if err := b.docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
			return fmt.Errorf("start container: %w", err)
		}
	}
	n, err := b.cutRounds(ctx, a, ids)
	if err != nil {
		return err
	}
	t := table{head: []string{"what", "n", "median", "p99", "max"}}
	for _, row := range []struct {
		what string
		took series
	}{{"toxic on", n.add}, {"toxic off", n.remove}, {"partition on", n.cut}, {"partition off", n.uncut}} {
		t.add(append([]string{row.what}, row.took.cells()...)...)
	}
	s.tables = append(s.tables, t)
	b.say("toxic %s, partition %s", millis(n.add.median()), millis(n.cut.median()))
	b.report.bar("a toxic, a partition, from decision to effect", "≤ 5 ms median",
		fmt.Sprintf("toxic %s, partition %s", millis(n.add.median()), millis(n.cut.median())), yes(n.add.median() <= cutBar && n.cut.median() <= cutBar))
	return nil
}

// cutRounds changes and checks, again and again.
func (b *bench) cutRounds(ctx context.Context, a *agent.Conn, ids []string) (n cutNumbers, err error) {
	toxic, err := json.Marshal(map[string]any{"name": "x", "type": "latency", "stream": "downstream", "toxicity": 1, "attributes": map[string]any{"latency": 50}})
	if err != nil {
		return n, err
	}
	call := func(took *series, op string, args any) error {
		began := time.Now()
		if err := a.Call(ctx, op, args, nil); err != nil {
			return err
		}
		took.add(time.Since(began))
		return nil
	}
	api := func(took *series, method, path string, body []byte, want int) error {
		var r agent.HTTPResponse
		began := time.Now()
		if err := a.Call(ctx, agent.OpNetToxiproxy, agent.HTTPRequest{Method: method, Path: path, Body: body, Own: true}, &r); err != nil {
			return err
		}
		took.add(time.Since(began))
		if r.Status != want {
			return fmt.Errorf("%s %s: status %d: %s", method, path, r.Status, r.Body)
		}
		return nil
	}
	if err := b.reaches(ctx, a, ids, true); err != nil {
		return n, err
	}
	for range cutRounds {
		err := errors.Join(
			api(&n.add, http.MethodPost, "/proxies/a->b:80/toxics", toxic, http.StatusOK),
			api(&n.remove, http.MethodDelete, "/proxies/a->b:80/toxics/x", nil, http.StatusNoContent),
			call(&n.cut, agent.OpCut, agent.Cut{ID: "c", Container: ids[0], Against: []string{"b"}, In: true, Out: true}),
			b.reaches(ctx, a, ids, false),
			call(&n.uncut, agent.OpUncut, agent.CutID{ID: "c"}),
			b.reaches(ctx, a, ids, true))
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// reaches fails unless datagrams arrive, or none does, from the first container to the second. At first it waits until both
// are known.
func (b *bench) reaches(ctx context.Context, a *agent.Conn, ids []string, want bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("the containers do not reach each other"))
	defer cancel()
	for {
		var r agent.ReachResult
		if err := a.Call(ctx, agent.OpReach, agent.Reach{From: ids[0], To: ids[1]}, &r); err != nil {
			return err
		}
		switch {
		case r.Sent > 0 && want == (r.Arrived > 0):
			return nil
		case r.Sent > 0:
			return fmt.Errorf("%d of %d datagrams arrived", r.Arrived, r.Sent)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
