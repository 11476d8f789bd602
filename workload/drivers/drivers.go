// Package drivers provides the list of workload drivers: one line each, as faults/catalogue has one of each fault kind.
//
// The list is fixed at compile time. Functions are safe for concurrent use.
package drivers

import (
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/etcd"
	"github.com/discompose/discompose/workload/httpdriver"
	"github.com/discompose/discompose/workload/nats"
	"github.com/discompose/discompose/workload/postgres"
	"github.com/discompose/discompose/workload/program"
	"github.com/discompose/discompose/workload/rabbitmq"
	"github.com/discompose/discompose/workload/redis"
	"github.com/discompose/discompose/workload/s3"
)

// All lists every driver, sorted by name.
func All() []workload.Spec {
	return []workload.Spec{
		etcd.Spec(),
		program.Spec(),
		httpdriver.Spec(),
		workload.Kafka(),
		nats.Spec(),
		postgres.Spec(),
		rabbitmq.Spec(),
		redis.Spec(),
		s3.Spec(),
	}
}

// Options maps each driver's name to a function that returns a pointer to its zero options, as the scenario language and
// the generated reference want it.
func Options() map[string]func() any {
	out := map[string]func() any{}
	for _, s := range All() {
		out[s.Name] = s.Options
	}
	return out
}
