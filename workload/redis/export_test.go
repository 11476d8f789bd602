package redis

import (
	"context"

	"github.com/discompose/discompose/workload"
)

// Connect makes a session of one process for registers at addr.
func Connect(ctx context.Context, addr string) (workload.Session, error) {
	o := Options{}.WithDefaults()
	return system{target: addr, o: o, mix: o.mix(), keys: o.Keys.Keys()}.Connect(ctx, 0)
}
