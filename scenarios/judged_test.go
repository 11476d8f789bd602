package scenarios_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload/drivers"
)

// TestAChecksKindFitsItsWorkload takes the real drivers: whatever cannot be judged, or not so, is an error before the run.
func TestAChecksKindFitsItsWorkload(t *testing.T) {
	t.Parallel()
	ours := func(o *scenarios.Options) { o.Drivers = drivers.Options() }
	for _, c := range []struct {
		name, driver, options, check string
		want                         []string
	}{
		{"a log of kafka", "kafka", "", `kind = "log"`, nil},
		{"a log of http", "http", `model = "log"`, `kind = "log"`, nil},
		{"the http driver's default", "http", "", `kind = "set"`, nil},
		{"no acknowledgements", "kafka", `acks = "0", idempotent = false`, `kind = "log"`, []string{
			`with acks = "0" nothing is acknowledged, so nothing can be lost and no steady state is seen: write acks = "1" or "all"`,
		}},
		{"a model", "postgres", `model = "bank"`, `kind = "bank"`, nil},
		{"at least once", "rabbitmq", "", "kind = \"queue\"\noptions = { delivery = \"at-least-once\" }", nil},
		{"both uncommitted", "kafka", `isolation = "read-uncommitted", transactions = {}`, "kind = \"log\"\noptions = { isolation = \"read-uncommitted\" }", nil},
		{"uncommitted without transactions", "kafka", `isolation = "read-uncommitted"`, `kind = "log"`, nil},
		{"a set of kafka", "kafka", "", `kind = "set"`, []string{`the set check cannot judge its operations, the log check can`}},
		{"another model", "postgres", `model = "bank"`, `kind = "register"`, []string{`the register check cannot judge its operations, the bank check can`}},
		{"the default model", "redis", "", `kind = "set"`, []string{`the set check cannot judge its operations, the register check can`}},
		{"a queue of etcd", "etcd", "", `kind = "queue"`, []string{`the queue check cannot judge its operations, the register check can`}},
		{"a log of nats", "nats", "", `kind = "log"`, []string{`the log check cannot judge its operations, the set check can`}},
		{"a set of s3", "s3", "", `kind = "set"`, []string{`the set check cannot judge its operations, the objects check can`}},
		{"exactly once", "rabbitmq", "", `kind = "queue"`, []string{`RabbitMQ may hand a message out again after a crash: write options = { delivery = "at-least-once" } in the check`}},
		{"readers that differ", "kafka", `isolation = "read-uncommitted", transactions = {}`, `kind = "log"`, []string{
			`it reads with isolation = "read-uncommitted", and the check judges by "read-committed": write the same in the options of both`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.want {
				c.want[i] = `t.toml:9:1: check[0].workload: workload "orders": ` + c.want[i]
			}
			_, err := parse(t, "[environment]\nuse = \"kafka\"\n[workload.orders]\ndriver = \""+c.driver+"\"\ntarget = \"kafka:9092\"\noptions = { "+c.options+" }\n"+
				"[[check]]\n"+c.check+"\nworkload = \"orders\"\n", ours)
			if diff := cmp.Diff(c.want, lines(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
