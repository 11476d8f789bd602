package rabbitmq_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/rabbitmq"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		`{}`:                              "",
		`{"type": "classic"}`:             "",
		`{"type": "stream"}`:              `type: "stream" is not one of quorum, classic`,
		`{"servers": ["rabbit1"]}`:        `servers[0]: "rabbit1" is not service:port`,
		`{"enqueues": 0, "dequeues": 0}`:  "no operation has a weight",
		`{"enqueues": -1, "dequeues": 1}`: "the weight of enqueue is negative",
	} {
		_, err := rabbitmq.Spec().New(workload.Config{Name: "w", Target: "r:5672", Clients: 1, Options: json.RawMessage(options)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}
