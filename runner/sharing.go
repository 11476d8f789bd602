package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/scenarios"
)

// EnvironmentKey stands for the environment that a scenario starts, where it may use one that another run has left, or leave
// its own: two scenarios of one key may share one. It is empty where the scenario wants its environment to itself: unless it
// says fresh = false, where it attaches to a project, and where a setup step must have run before services start. p is the
// scenario's project as it was loaded, nil where attached.
func EnvironmentKey(s *scenarios.Scenario, p *compose.Project) (string, error) {
	e := s.Environment
	if e.Fresh == nil || *e.Fresh || e.Attach != "" || p == nil {
		return "", nil
	}
	stage := stageSetup(s.Setup)
	if len(stage.start) > 0 {
		return "", nil
	}
	rendered, err := p.YAML()
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(struct {
		Use                   string
		Files                 []string
		Share, Publish, Apart []string
		Fallback              bool
		Rendered              string
	}{e.Use, p.Files(), e.Share, e.Publish, stage.hold, e.Fallback == nil || *e.Fallback, string(rendered)})
	if err != nil {
		return "", fmt.Errorf("describe environment of %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// Digest stands for what a scenario does: for all that was read of it, with its includes and what was set, except its seed, and
// for its Compose files. p is its project as it was loaded; a scenario that attaches has none, and no digest.
func Digest(s *scenarios.Scenario, p *compose.Project) (string, error) {
	if p == nil {
		return "", nil
	}
	rendered, err := p.YAML()
	if err != nil {
		return "", err
	}
	type fault struct {
		scenarios.Fault
		Spec string // in place of its functions
	}
	text := *s
	text.Seed, text.Origin, text.Places, text.Fault = nil, scenarios.Origin{}, nil, nil
	list := make([]fault, 0, len(s.Fault))
	for _, f := range s.Fault {
		list = append(list, fault{f, string(f.Spec.Kind)})
	}
	raw, err := json.Marshal(struct {
		scenarios.Scenario
		Fault    []fault
		Rendered string
	}{text, list, string(rendered)})
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}
