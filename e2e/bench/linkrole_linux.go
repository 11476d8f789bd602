package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/discompose/discompose/agent/proxy"
)

// roleOf runs a role, if the arguments name one.
func roleOf(ctx context.Context, args []string) (done bool, err error) {
	if len(args) != 1 {
		return false, nil
	}
	var start func(context.Context) (func(order) (answer, error), error)
	switch args[0] {
	case roleLab:
		start = startLab
	case roleServer:
		start = startServer
	case roleLoad:
		start = startLoad
	case roleOurs:
		start = startOurs
	case roleToxiproxy:
		start = startToxiproxy
	default:
		return false, nil
	}
	do, err := start(ctx)
	if err != nil {
		return true, fmt.Errorf("start %s: %w", args[0], err)
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return true, fmt.Errorf("read order: %w", err)
		}
		a, err := do(o)
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return true, fmt.Errorf("answer: %w", err)
		}
	}
}

// role is a child process.
type role struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
}

// startRole starts a role in this process's network namespace, or in one of its own.
func startRole(ctx context.Context, name string, ownSpace bool) (*role, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	r := &role{name: name, cmd: exec.CommandContext(ctx, exe, name)}
	r.cmd.Stderr = os.Stderr
	r.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1") // signals would interrupt blocking system calls
	if name == roleOurs || name == roleToxiproxy {
		r.cmd.Env = os.Environ()
	}
	if ownSpace {
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		if os.Geteuid() != 0 {
			r.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			r.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		}
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	r.enc, r.dec = json.NewEncoder(r.in), json.NewDecoder(bufio.NewReader(out))
	return r, nil
}

// ask gives an order and waits for its answer.
func (r *role) ask(o order) (answer, error) {
	var a answer
	if err := r.enc.Encode(o); err != nil {
		return a, fmt.Errorf("%s: %w", r.name, err)
	}
	if err := r.dec.Decode(&a); err != nil {
		return a, fmt.Errorf("%s: %w", r.name, err)
	}
	if a.Err != "" {
		return a, fmt.Errorf("%s: %s: %s", r.name, o.Do, a.Err)
	}
	return a, nil
}

// stop ends the process and waits for it.
func (r *role) stop() error {
	_ = r.in.Close()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

func startServer(context.Context) (func(order) (answer, error), error) {
	blockingThreads()
	return func(o order) (answer, error) {
		if o.Space {
			if err := takeEnd(o.At, o.Congestion); err != nil {
				return answer{}, err
			}
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return answer{}, fmt.Errorf("make socket: %w", err)
		}
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: o.At.Addr().As4()}), unix.Listen(fd, 1024)); err != nil {
			return answer{}, fmt.Errorf("listen on %v: %w", o.At, err)
		}
		at, err := unix.Getsockname(fd)
		in4, ok := at.(*unix.SockaddrInet4)
		if err != nil || !ok {
			return answer{}, fmt.Errorf("find own port: %w", err)
		}
		go func() { _ = serveLoad(fd) }()                                         // ends with the process
		return answer{At: netip.AddrPortFrom(o.At.Addr(), uint16(in4.Port))}, nil //nolint:gosec // a port
	}, nil
}

func startLoad(context.Context) (func(order) (answer, error), error) {
	blockingThreads()
	var w *watcher
	return func(o order) (a answer, err error) {
		switch o.Do {
		case doBulk:
			a.Value, err = bulk(o.At, o.Mode, o.Conns, o.For)
		case doEcho:
			var d time.Duration
			d, err = echoes(o.At, o.Size, o.Count)
			a.Value = float64(d) / float64(time.Microsecond)
		case doWatch: // echo one byte after the other from now on
			w, err = watch(o.At)
		case doSeen:
			a.Seen, err = w.seen(o.Count > 0, o.For, o.After)
		}
		return a, err
	}, nil
}

// upstream is the network of an idle link: a listener here, one server there.
type upstream netip.AddrPort

func (u upstream) Listen(ctx context.Context) ([]*net.TCPListener, error) {
	l, err := proxy.Listen(ctx, "tcp4", "127.0.0.1")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return []*net.TCPListener{l}, nil
}

func (u upstream) Dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	return (&net.Dialer{KeepAlive: -1}).DialTCP(ctx, "tcp4", netip.AddrPort{}, to)
}

func (u upstream) Original(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort(u), nil }

func startOurs(ctx context.Context) (func(order) (answer, error), error) {
	var l *proxy.Link
	return func(o order) (a answer, err error) {
		switch o.Do {
		case doOpen:
			if l, err = proxy.Open(ctx, proxy.Options{Name: "bench", Network: upstream(o.At)}); err == nil {
				a.At = l.Addrs()[0]
			}
		case doAdd:
			a.Began = monotonic()
			_, err = l.AddToxic(ctx, proxy.Toxic{
				Name: "x", Type: "latency", Stream: "downstream", Toxicity: 1,
				Attributes: map[string]any{"latency": o.For.Milliseconds()},
			})
			a.Ended = monotonic()
		case doRemove:
			a.Began = monotonic()
			err = l.RemoveToxic("x")
			a.Ended = monotonic()
		}
		return a, err
	}, nil
}

func startToxiproxy(context.Context) (func(order) (answer, error), error) {
	s := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	return func(o order) (a answer, err error) {
		p := toxiproxy.NewProxy(s, "bench", "127.0.0.1:0", o.At.String())
		if err := p.Start(); err != nil {
			return a, fmt.Errorf("start proxy: %w", err)
		}
		a.At, err = netip.ParseAddrPort(p.Listen)
		return a, err
	}, nil
}

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // there is one
	return t.Nano()
}
