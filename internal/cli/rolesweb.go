package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/discompose/discompose/workload/embedded"
	"github.com/discompose/discompose/workload/orders"
)

// webCommands are the roles of the shipped environment web.
func (a *app) webCommands() []*cobra.Command {
	return []*cobra.Command{a.ordersCommand(), a.proxyCommand(), {
		Use: "ping-http URL", Short: "Ask a URL whether it answers 200", Hidden: true, Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
			defer cancel()
			return orders.Ping(ctx, args[0])
		},
	}}
}

func (a *app) ordersCommand() *cobra.Command {
	o := orders.Options{Log: a.Err}
	c := &cobra.Command{
		Use: "serve-shop", Short: "An application that keeps orders in PostgreSQL", Hidden: true, Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return &usageError{err}
			}
			return ended(c.Context(), orders.Serve(c.Context(), o))
		},
	}
	f := c.Flags()
	f.StringVar(&o.Listen, "listen", ":8080", "address to serve on")
	f.StringVar(&o.Database, "database", "", "URL of the database")
	f.IntVar(&o.Pool, "pool", 8, "most connections to the database")
	f.DurationVar(&o.Lifetime, "lifetime", 30*time.Minute, "after which a connection is replaced")
	f.DurationVar(&o.Wait, "wait", time.Second, "longest wait for a connection")
	f.DurationVar(&o.Timeout, "timeout", 3*time.Second, "longest time of a statement")
	f.StringVar(&o.Acknowledge, "acknowledge", orders.AtCommit, "when an order is acknowledged: commit, or receipt, which loses orders")
	f.IntVar(&o.Drop, "drop", 0, "acknowledge and lose one order of so many; 0: none")
	return c
}

func (a *app) proxyCommand() *cobra.Command {
	o := embedded.ProxyOptions{Log: a.Err}
	c := &cobra.Command{
		Use: "serve-proxy", Short: "The embedded reverse proxy", Hidden: true, Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return ended(c.Context(), embedded.ServeProxy(c.Context(), o))
		},
	}
	f := c.Flags()
	f.StringVar(&o.Listen, "listen", ":80", "address to serve on")
	f.StringVar(&o.To, "to", "", "URL of the application")
	return c
}
