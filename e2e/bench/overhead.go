package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/ledger"
)

const overheadBar = 5000.0 // ms

// overheads are the scenarios and what each asks for itself: [steady] for, the end of the timeline, and the second
// without failures that ends every recovery (runner, calm).
func overheads() []overhead {
	const asked = 2*time.Second + 3*time.Second + time.Second
	return []overhead{{"web", "overhead_web", asked, 5}, {"kafka", "overhead_kafka", asked, 3}}
}

type overhead struct {
	environment, scenario string
	asked                 time.Duration
	rounds                int
}

// overhead measures what the tool adds to up, the scenario's own time, and down.
func (b *bench) overhead(ctx context.Context, s *section) error {
	s.title = "What the tool adds to up + faults + down"
	s.text = "The whole process `discompose run`, from start to exit, on a scenario that asks for 6 s itself (steady for 2 s, a pause from 1 s to 3 s of the timeline, 1 s of calm), less these 6 s, less *up, ready " +
		"and down* of the same environment through package compose alone; in turn. What is left is the tool's own: image, agent, clients, preflight, topics, witnesses, final reads, logs, judgement, reports, removal. " +
		"The last two columns take the run's own *up* stage instead of the other one, so that a slow start of a service does not count for either side; they still hold the run's *down*, and not what the tool does in *up*."
	t := table{head: []string{"environment", "n", "run: median", "up + down alone: median", "asked for", "added: median", "max", "run less its own up and asked: median", "max"}}
	stages := table{head: []string{"stage of the run, median", "web", "kafka"}}
	byStage := map[string][]string{}
	var order []string
	worst, said := 0.0, []string{}
	for i, o := range overheads() {
		m, err := b.added(ctx, o, s)
		if err != nil {
			return fmt.Errorf("%s: %w", o.environment, err)
		}
		b.say("%s: run %s, up + down %s, added %s", o.environment, millis(m.wall.median()), millis(m.bare.median()), millis(m.added.median()))
		t.add(o.environment, fmt.Sprint(len(m.wall)), millis(m.wall.median()), millis(m.bare.median()), o.asked.String(), millis(m.added.median()), millis(m.added.max()),
			millis(m.rest.median()), millis(m.rest.max()))
		worst = max(worst, m.added.median())
		said = append(said, fmt.Sprintf("%s: %s median, %s at most", o.environment, millis(m.added.median()), millis(m.added.max())))
		for _, p := range m.stages {
			if byStage[p.name] == nil {
				byStage[p.name] = []string{"–", "–"}
				order = append(order, p.name)
			}
			byStage[p.name][i] = millis(p.took.median())
		}
	}
	for _, name := range order {
		stages.add(append([]string{name}, byStage[name]...)...)
	}
	s.tables = append(s.tables, t, stages)
	b.report.bar("what the tool adds to `up` + faults + `down`", "≤ 5 s", strings.Join(said, "; "), yes(worst <= overheadBar))
	return nil
}

// stage is one phase of a run, over all rounds.
type stage struct {
	name string
	took series
}

// addition is what the rounds of one environment gave.
type addition struct {
	wall, bare, added, rest series
	stages                  []*stage
}

// added runs the rounds of one environment.
func (b *bench) added(ctx context.Context, o overhead, s *section) (m addition, err error) {
	for range o.rounds {
		c, err := b.start(ctx, o.scenario)
		if err != nil {
			return m, err
		}
		took, h, err := b.finish(ctx, c, s)
		if err != nil {
			return m, err
		}
		spans := stagesOf(h.Run, c.began.UnixNano(), took)
		alone, err := b.upAndDown(ctx, o.environment)
		if err != nil {
			return m, err
		}
		m.wall.add(took)
		m.bare.add(alone)
		m.added.add(took - alone - o.asked)
		for _, p := range spans {
			if p.name == "up" {
				m.rest.add(took - p.took - o.asked)
			}
		}
		m.stages = merge(m.stages, spans)
	}
	return m, nil
}

type span struct {
	name string
	took time.Duration
}

// stagesOf cuts a run into its stages. What comes before the first one that run.json knows is the start of the process,
// and what comes after the last one is judging, reports and down.
func stagesOf(run ledger.Run, began int64, took time.Duration) []span {
	var out []span
	from, to := int64(0), int64(0)
	for _, p := range run.Phases {
		if from == 0 {
			from = p.From
		}
		if p.To == 0 {
			continue
		}
		to = p.To
		out = append(out, span{p.Name, time.Duration(p.To - p.From)})
	}
	if run.Base == 0 || run.BaseWall == 0 || len(out) == 0 {
		return out
	}
	// The two clocks meet at the start of the timeline.
	first := run.BaseWall - (run.Base - from)
	last := run.BaseWall + (to - run.Base)
	before := span{"start of the process and prepare (image, project, agent)", time.Duration(first - began)}
	after := span{"judge, report, down", took - time.Duration(last-began)}
	return append([]span{before}, append(out, after)...)
}

func merge(all []*stage, round []span) []*stage {
	for _, s := range round {
		at := -1
		for i := range all {
			if all[i].name == s.name {
				at = i
			}
		}
		if at < 0 {
			all = append(all, &stage{name: s.name})
			at = len(all) - 1
		}
		all[at].took.add(s.took)
	}
	return all
}

// upAndDown is how long an environment alone takes: up, ready, down.
func (b *bench) upAndDown(ctx context.Context, environment string) (took time.Duration, err error) {
	raw := make([]byte, 4)
	_, _ = rand.Read(raw) // crypto/rand never fails on the supported systems
	id := hex.EncodeToString(raw)
	b.runs = append(b.runs, id)
	dir := filepath.Join(b.dir, "up-"+id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, fmt.Errorf("make folder: %w", err)
	}
	project, err := compose.LoadShipped(ctx, environment, compose.LoadOptions{Env: map[string]string{"DISCOMPOSE_IMAGE": b.image}})
	if err != nil {
		return 0, err
	}
	_, err = project.Isolate(compose.IsolateOptions{Project: "bench" + id, Run: id, Used: func() ([]netip.Prefix, error) { return b.engine.UsedSubnets(ctx) }})
	if err != nil {
		return 0, err
	}
	env := b.engine.Environment(project, compose.RunInfo{Run: id, Dir: dir})
	began := time.Now()
	err = env.Up(ctx, compose.UpOptions{Ready: 2 * time.Minute})
	err = errors.Join(err, env.Down(context.WithoutCancel(ctx)))
	return time.Since(began), err
}
