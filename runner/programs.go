package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/discompose/discompose/agent"
	"github.com/discompose/discompose/scenarios"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/program"
)

// localClient is a client in this process, called as one in a container is.
type localClient struct {
	client *workload.Client
	ops    map[string]func(ctx context.Context, args json.RawMessage) (any, error)
}

// Call implements caller.
func (l localClient) Call(ctx context.Context, op string, args, out any) error {
	var raw json.RawMessage
	if args != nil {
		var err error
		if raw, err = json.Marshal(args); err != nil {
			return fmt.Errorf("encode %s: %w", op, err)
		}
	}
	do := l.ops[op]
	if do == nil {
		return fmt.Errorf("a client has no operation %q", op)
	}
	answer, err := do(ctx, raw)
	if err != nil || out == nil {
		return err
	}
	if raw, err = json.Marshal(answer); err != nil {
		return fmt.Errorf("encode the answer of %s: %w", op, err)
	}
	return json.Unmarshal(raw, out)
}

// Close implements caller.
func (l localClient) Close() error {
	l.client.Close()
	return nil
}

// startLocal makes the client of workloads whose driver is a program of the user's.
func (r *run) startLocal(ctx context.Context, c *clientConn) error {
	specs := []workload.Spec{program.Local(program.Env{
		Launch: r.launch, Target: r.reach, Now: r.clock.now, Broken: func(err error) { r.abort(err) },
	})}
	client := workload.NewClient(specs, func(event string, data json.RawMessage) {
		r.clientEvent(c, agent.Event{Name: event, Data: data})
	})
	l := localClient{client: client, ops: client.Ops()}
	c.conn = l
	if err := l.Call(ctx, workload.OpConfigure, workload.ClientConfig{Workloads: c.workloads}, nil); err != nil {
		return fmt.Errorf("configure client %s: %w", c.name, err)
	}
	return nil
}

// launch starts a program in a service or on the host.
func (r *run) launch(ctx context.Context, o program.Options) (*program.Process, error) {
	if o.Service == "" {
		return hostProgram(ctx, r.o.Scenario.Origin.Dir, o)
	}
	p, err := r.env.Launch(ctx, o.Service, 1, o.Command, variables(o.Env))
	if err != nil {
		return nil, err
	}
	return &program.Process{In: p.In, Out: p.Out, Wait: func() string { return ending(p.Wait()) }}, nil
}

// ending tells how a program ended.
func ending(code int, stderr string, err error) string {
	if err != nil {
		return err.Error()
	}
	if stderr = lastLine(stderr); stderr == "" {
		return fmt.Sprintf("exit code %d", code)
	}
	return fmt.Sprintf("exit code %d: %s", code, stderr)
}

func variables(env map[string]string) []string {
	var out []string
	for _, key := range sortedKeys(env) {
		out = append(out, key+"="+env[key])
	}
	return out
}

// programGrace is how long a program may take to end by itself when it is told to.
const programGrace = 2 * time.Second

// hostProgram starts a program on this machine, in the scenario's folder. ctx ends it.
func hostProgram(ctx context.Context, dir string, o program.Options) (*program.Process, error) {
	cmd := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(os.Environ(), variables(o.Env)...), programGrace
	stderr := &tail{}
	cmd.Stderr = stderr
	ownGroup(cmd)
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &program.Process{In: in, Out: out, Wait: func() string {
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil
		}
		return ending(cmd.ProcessState.ExitCode(), stderr.text(), err)
	}}, nil
}

// tail keeps the last of what is written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// mostTail is how much a tail keeps.
const mostTail = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - mostTail; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// reach is a target as a program reaches it: by its name in a service, by a published port on the host.
func (r *run) reach(ctx context.Context, o program.Options, target string) (string, error) {
	if !o.OnHost() {
		return target, nil
	}
	if p := r.env.Project(); p != nil {
		for _, p := range p.Published() {
			if target == fmt.Sprintf("%s:%d", p.Service, p.Port) {
				return net.JoinHostPort(p.Host, fmt.Sprint(p.HostPort)), nil
			}
		}
	}
	services, err := r.env.Services(ctx)
	if err != nil {
		return "", err
	}
	name, port, _ := strings.Cut(target, ":")
	for _, s := range ServicesOf(services) {
		if host := hostPort(s, port); s.Name == name && host != "" {
			return net.JoinHostPort("127.0.0.1", host), nil
		}
	}
	return "", fmt.Errorf("a program on the host cannot reach %s: add it to environment.publish", target)
}

// hostPort is the host's port that leads to a container port; "" if none does.
func hostPort(s scenarios.Service, port string) string {
	for host, inside := range s.HostPorts {
		if fmt.Sprint(inside) == port {
			return fmt.Sprint(host)
		}
	}
	return ""
}
