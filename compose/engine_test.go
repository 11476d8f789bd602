package compose_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/discompose/discompose/compose"
)

func TestConnectNamesEndpointAndSetting(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"nobody listens", map[string]string{"DOCKER_HOST": "unix:///no/such.sock"}, []string{"unix:///no/such.sock", "DOCKER_HOST", "is Docker running"}},
		{"no such context", map[string]string{"DOCKER_HOST": "", "DOCKER_CONTEXT": "dc-no-such"}, []string{"DOCKER_CONTEXT", "dc-no-such"}},
		{"no address", map[string]string{"DOCKER_HOST": "what://x"}, []string{"DOCKER_HOST", "what"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			_, err := compose.Connect(t.Context())
			var broken *compose.EngineError
			if !errors.Is(err, compose.ErrEngine) || !errors.As(err, &broken) {
				t.Fatalf("error is %v, want an EngineError", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
		})
	}
}

func TestLogFramesBecomeLines(t *testing.T) {
	frame := func(stream byte, text string) []byte {
		head := make([]byte, 8)
		head[0] = stream
		binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
		return append(head, text...)
	}
	stream := slices.Concat(
		frame(1, "2026-01-02T03:04:05.000000001Z one\n"),
		frame(1, "2026-01-02T03:04:05.000000002Z a long "),
		frame(2, "2026-01-02T03:04:05.000000003Z oops\n"),
		frame(1, "2026-01-02T03:04:05.000000004Z line\n"),
		frame(1, "2026-01-02T03:04:05.000000005Z \n"),
		frame(1, "2026-01-02T03:04:05.000000006Z cut off"),
	)
	got, err := compose.SplitLog(stream)
	want := []string{
		"2026-01-02T03:04:05.000000001Z one",
		"!2026-01-02T03:04:05.000000003Z oops",
		"2026-01-02T03:04:05.000000002Z a long line",
		"2026-01-02T03:04:05.000000005Z ",
		"2026-01-02T03:04:05.000000006Z cut off",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("lines are %q, %v; want %q", got, err, want)
	}
}
