package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// tcpProbe holds if a connection is established; it is closed at once.
func tcpProbe(c ProbeConfig) (func(ctx context.Context) error, error) {
	if _, _, err := net.SplitHostPort(c.Target); err != nil {
		return nil, fmt.Errorf("probe %s: target %q is not host:port: %w", c.Name, c.Target, err)
	}
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.Target)
		if err != nil {
			return Concise(err)
		}
		return conn.Close()
	}, nil
}

// maxProbeBody is how much of an answer's body is matched.
const maxProbeBody = 1 << 20

// httpProbe holds if the answer has one of the codes and its body matches. Redirects are not followed: the answer is
// judged as it comes.
func httpProbe(c ProbeConfig, match *regexp.Regexp) (func(ctx context.Context) error, error) {
	u, err := url.Parse(c.Target)
	if err != nil {
		return nil, fmt.Errorf("probe %s: target: %w", c.Name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("probe %s: target %q is not a URL (write http://service:port/path)", c.Name, c.Target)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // each evaluation resolves and connects anew; no proxy either
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, c.Method, c.Target, strings.NewReader(c.Body))
		if err != nil {
			return Concise(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return Concise(err)
		}
		defer resp.Body.Close() //nolint:errcheck // what was read of it counts
		if !slices.Contains(c.Status, resp.StatusCode) {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody))
		if err != nil {
			return Concise(err)
		}
		if !match.Match(body) {
			return fmt.Errorf("body does not match %q", c.Match)
		}
		return nil
	}, nil
}

// Concise is err without the parts that every evaluation shares (the address, the URL).
func Concise(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("resolve %s: %s", dns.Name, dns.Err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
			return fmt.Errorf("%s: %w", call.Syscall, call.Err)
		}
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	return err
}
