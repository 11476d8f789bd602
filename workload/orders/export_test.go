package orders

import (
	"context"
	"io"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Handler is an application's, without its table and its listener; it is for a database that does not answer.
func Handler(ctx context.Context, o Options) (http.Handler, func(), error) {
	pool, err := pgxpool.New(ctx, o.Database)
	if err != nil {
		return nil, nil, err
	}
	o.Log = io.Discard
	return (&app{o: o, pool: pool}).handler(), pool.Close, nil
}
