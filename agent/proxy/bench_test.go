package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/discompose/discompose/agent/proxy"
)

// echo serves connections that send back what they get, and sink ones that swallow it.
func serveAll(b *testing.B, f func(*net.TCPConn)) *net.TCPListener {
	b.Helper()
	ls, err := loopback{}.Listen(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ls[0].Close() })
	go func() {
		for {
			c, err := ls[0].AcceptTCP()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return ls[0]
}

// paths calls f with an address that leads to server directly, through an idle link, and through a stock Toxiproxy.
func paths(b *testing.B, serve func(*net.TCPConn), f func(b *testing.B, at string)) {
	b.Run("direct", func(b *testing.B) { f(b, serveAll(b, serve).Addr().String()) })
	b.Run("link", func(b *testing.B) {
		l, err := proxy.Open(b.Context(), proxy.Options{Network: loopback{to: addr(serveAll(b, serve).Addr())}})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = l.Close(context.Background()) }()
		f(b, l.Addrs()[0].String())
	})
	b.Run("toxiproxy", func(b *testing.B) {
		s := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
		p := toxiproxy.NewProxy(s, "p", "127.0.0.1:0", serveAll(b, serve).Addr().String())
		if err := p.Start(); err != nil {
			b.Fatal(err)
		}
		defer p.Stop()
		f(b, p.Listen)
	})
}

func dial(b *testing.B, at string) *net.TCPConn {
	b.Helper()
	c, err := new(net.Dialer).DialContext(b.Context(), "tcp4", at)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn) //nolint:forcetypeassert // of a tcp4 dial
}

// BenchmarkIdleLinkThroughput sends 128 KiB writes one way over one and over fifty connections.
func BenchmarkIdleLinkThroughput(b *testing.B) { //nolint:gocognit // three variants side by side in one run
	const piece = 128 << 10
	sink := func(c *net.TCPConn) {
		defer c.Close()
		buf := make([]byte, piece)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}
	for name, conns := range map[string]int{"one": 1, "fifty": 50} {
		b.Run(name, func(b *testing.B) {
			paths(b, sink, func(b *testing.B, at string) {
				b.SetBytes(piece)
				all := make([]*net.TCPConn, conns)
				for i := range all {
					all[i] = dial(b, at)
				}
				done := make(chan error, conns)
				b.ResetTimer()
				for i, c := range all {
					n := b.N / conns
					if i < b.N%conns {
						n++
					}
					go func() {
						buf := make([]byte, piece)
						for range n {
							if _, err := c.Write(buf); err != nil {
								done <- err
								return
							}
						}
						_ = c.CloseWrite()
						_, err := io.Copy(io.Discard, c) // until the server has read everything
						done <- err
					}()
				}
				for range all {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkIdleLinkRoundTrip sends a message and waits for its echo.
func BenchmarkIdleLinkRoundTrip(b *testing.B) {
	echo := func(c *net.TCPConn) {
		defer c.Close()
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	}
	for _, x := range []struct {
		name string
		size int
	}{{"1B", 1}, {"1KiB", 1 << 10}} {
		b.Run(x.name, func(b *testing.B) {
			paths(b, echo, func(b *testing.B, at string) {
				c, buf := dial(b, at), make([]byte, x.size)
				for b.Loop() {
					if _, err := c.Write(buf); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(c, buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkToxic adds a toxic to a link with fifty open connections, and removes it.
func BenchmarkToxic(b *testing.B) {
	r := newRig(b, proxy.Options{})
	for range 50 {
		r.connect()
	}
	for b.Loop() {
		r.add(toxicOf("latency", "upstream", map[string]any{"latency": 1}))
		r.remove("latency_upstream")
	}
}
