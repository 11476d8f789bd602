package scenarios_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

func TestAProgramOnTheHostNeedsAPublishedPort(t *testing.T) {
	t.Parallel()
	ours := func(o *scenarios.Options) { o.Drivers = drivers.Options() }
	text := func(environment, options string) string {
		return "[environment]\nuse = \"kafka\"\n" + environment + "\n[workload.orders]\ndriver = \"exec\"\ntarget = \"web:80\"\noptions = " + options + "\n"
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"with one", text(`publish = ["web:80"]`, `{ command = ["x"] }`), nil},
		{"in a service", text("", `{ command = ["x"], service = "tools" }`), nil},
		{"without one", text(`publish = ["web:81"]`, `{ command = ["x"] }`), []string{
			`t.toml:6:1: workload.orders.target: a program on the host cannot reach web:80 (add environment.publish = ["web:80"], or name a service in options)`,
		}},
		{"without a command", text("", `{ service = "tools" }`), []string{
			`t.toml:7:1: workload.orders.options.command: missing (the program and its arguments; docs/drivers/exec.md says what it reads and prints)`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.text, ours)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
