package s3

import (
	"context"

	"github.com/discompose/discompose/workload"
)

// Outcome opens the classification of errors to tests.
var Outcome = outcome

// Connect makes a session of one process at addr.
func Connect(ctx context.Context, addr string) (workload.Session, error) {
	return newSystem(workload.Config{Target: addr, Seed: 7}, Options{}.WithDefaults()).Connect(ctx, 0)
}

// Body is the body of a generation of a key as that session derives it.
func Body(key string, generation, size int64) []byte {
	return newSystem(workload.Config{Seed: 7}, Options{}.WithDefaults()).body(key, generation, size)
}
