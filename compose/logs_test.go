package compose_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
)

func TestAStreamThatHandsLinesOutTwiceIsReadOnce(t *testing.T) {
	t.Parallel()
	one, two, three := "2026-01-02T03:04:05.000000001Z a", "2026-01-02T03:04:05.000000002Z b", "2026-01-02T03:04:05.000000003Z a"
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"a replay", []string{one, two, one, two, three}, []string{"a", "b", "a"}},
		{"two equal lines of one instant", []string{one, one, two}, []string{"a", "a", "b"}},
		{"equal texts of two instants", []string{one, two, three}, []string{"a", "b", "a"}},
		{"a line that is stored late", []string{two, one, three}, []string{"b", "a", "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, compose.Follow(c.lines)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
