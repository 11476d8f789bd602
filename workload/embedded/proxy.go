package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// ProxyOptions is what the stand-in for nginx in the shipped environment web is told.
type ProxyOptions struct {
	Listen string    // address to serve on
	To     string    // URL of the application
	Log    io.Writer // nil: nothing
}

// The proxy's time-outs; those of the environment's nginx are the same.
const (
	proxyConnect = time.Second
	proxyAnswer  = 5 * time.Second
)

// ServeProxy is a reverse proxy until ctx ends. It answers / itself, as nginx's welcome page does, and hands all else on,
// once: a request that fails is answered with 502, one without an answer in time with 504, and none is sent again.
func ServeProxy(ctx context.Context, o ProxyOptions) error {
	to, err := url.Parse(o.To)
	if err != nil || to.Host == "" {
		return fmt.Errorf("--to: %q is no URL (write as in http://app:8080)", o.To)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if o.Log != nil {
		_, _ = fmt.Fprintf(o.Log, "embedded reverse proxy (not nginx) on %s, to %s\n", o.Listen, o.To)
	}
	server := &http.Server{Handler: proxyHandler(to, o.Log), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		return server.Close()
	}
}

func proxyHandler(to *url.URL, log io.Writer) http.Handler {
	dialer := &net.Dialer{Timeout: proxyConnect}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		// Without kept connections there is none that net/http would send a request over again.
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ResponseHeaderTimeout: proxyAnswer},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if log != nil {
				_, _ = fmt.Fprintf(log, "%s %s: %v\n", r.Method, r.URL.Path, err)
			}
			var timeout interface{ Timeout() bool }
			if errors.As(err, &timeout) && timeout.Timeout() {
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "This is not nginx.\n") })
	mux.Handle("/", proxy)
	return mux
}
