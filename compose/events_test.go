package compose_test

import (
	"testing"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/docker/api/types/events"

	"github.com/discompose/discompose/compose"
)

// A report without them would say that a service died, and not of what.
func TestEventsTellTheirDetail(t *testing.T) {
	for _, tc := range []struct {
		action     events.Action
		attributes map[string]string
		want       compose.Event
	}{
		{"die", map[string]string{"exitCode": "137"}, compose.Event{Action: "die", ExitCode: 137, Detail: "exit code 137"}},
		{"health_status: unhealthy", nil, compose.Event{Action: "health_status", Health: "unhealthy", Detail: "unhealthy"}},
		{"kill", map[string]string{"signal": "15"}, compose.Event{Action: "kill", Signal: "15", Detail: "signal 15"}},
		{"start", nil, compose.Event{Action: "start"}},
	} {
		m := events.Message{Action: tc.action, Actor: events.Actor{ID: "c1", Attributes: map[string]string{api.ServiceLabel: "web", api.ContainerNumberLabel: "2"}}}
		for k, v := range tc.attributes {
			m.Actor.Attributes[k] = v
		}
		tc.want.Service, tc.want.Number, tc.want.Container = "web", 2, "c1"
		if got, ok := compose.Convert(m); !ok || got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.action, got, tc.want)
		}
	}
}
