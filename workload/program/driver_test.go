package program_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
	"github.com/discompose/discompose/workload/program"
)

// scripted is a program that a test plays.
type scripted struct {
	t      *testing.T
	driver workload.Driver
	in     *bufio.Scanner
	out    *io.PipeWriter
	clock  atomic.Int64
	broken chan error

	mu  sync.Mutex
	ops []ledger.Op
}

// play starts a driver whose program is the test; its first command has been read.
func play(t *testing.T, c workload.Config) *scripted {
	t.Helper()
	commands, stdin := io.Pipe()
	stdout, lines := io.Pipe()
	s := &scripted{t: t, in: bufio.NewScanner(commands), out: lines, broken: make(chan error, 1)}
	s.clock.Store(int64(time.Hour))
	spec := program.Local(program.Env{
		Launch: func(context.Context, program.Options) (*program.Process, error) {
			return &program.Process{In: gone{stdin}, Out: stdout, Wait: func() string { return "exit code 3: no module named redis" }}, nil
		},
		Target: func(_ context.Context, _ program.Options, target string) (string, error) {
			return "mapped " + target, nil
		},
		Now:    func() int64 { return s.clock.Add(int64(time.Millisecond)) },
		Broken: func(err error) { s.broken <- err },
	})
	c.Name, c.Driver, c.Target, c.Options = "w", program.Name, "db:1", json.RawMessage(`{"command": ["driver"]}`)
	d, err := workload.New(c, []workload.Spec{spec})
	if err != nil {
		t.Fatal(err)
	}
	s.driver = d
	started := make(chan error, 1)
	go func() {
		started <- d.Start(t.Context(), func(ops []ledger.Op) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ops = append(s.ops, ops...)
		})
	}()
	first := s.read()
	var got program.Config
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatal(err)
	}
	want := program.Config{V: ledger.FormatVersion, Workload: "w", Target: "mapped db:1", Clients: max(c.Clients, 1), Keys: 10, Timeout: got.Timeout}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return s
}

// gone is the input of a program that ends with its last line: when it is closed, it is closed already.
type gone struct{ io.WriteCloser }

func (g gone) Close() error { return errors.Join(g.WriteCloser.Close(), os.ErrClosed) }

func (s *scripted) read() string {
	s.t.Helper()
	if !s.in.Scan() {
		s.t.Fatal("there is no command")
	}
	return s.in.Text()
}

func (s *scripted) say(lines ...string) {
	for _, l := range lines {
		if _, err := s.out.Write([]byte(l + "\n")); err != nil {
			return // the driver has hung up
		}
	}
}

// stop and final answer the driver's commands with lines.
func (s *scripted) stop(lines ...string) error {
	return s.command("stop", func() error { return s.driver.Stop(s.t.Context()) }, lines)
}

func (s *scripted) final(lines ...string) error {
	return s.command("final", func() error { return s.driver.Final(s.t.Context(), nil) }, lines)
}

func (s *scripted) command(name string, call func() error, lines []string) error {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	if got := s.read(); got != name {
		s.t.Errorf("the command is %q, want %q", got, name)
	}
	s.say(lines...)
	return <-ended
}

// told are the operations in short.
func (s *scripted) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, o := range s.ops {
		when := "in order"
		if o.Complete == 0 {
			when = "never"
		} else if o.Invoke > o.Complete {
			when = "backwards"
		}
		out = append(out, fmt.Sprintf("%d %s k=%s x=%d o=%d d=%s %s %s %s", o.Process, o.Func, o.Key, o.Value, o.Offset, o.Data, o.Outcome, o.Error, when))
	}
	return out
}

func TestAProgramsLinesBecomeOperations(t *testing.T) {
	t.Parallel()
	s := play(t, workload.Config{Clients: 2})
	s.say(
		`{"f":"add","x":1,"r":"invoke"}`,
		`{"f":"get","p":1,"k":"a","r":"invoke"}`,
		`{"r":"ok"}`,
		``,
		`{"p":1,"r":"ok","x":9}`,
		`{"f":"cas","k":"a","x":3,"d":{"from": 1},"r":"invoke"}`, `{"f":"cas","r":"fail","e":"declined","d":"{\"from\":1,\"mismatch\":true}"}`,
		`{"f":"add","x":4,"r":"invoke"}`, `{"r":"unknown","e":"reset"}`, // the client goes on as process 2
		`{"f":"add","x":5,"r":"invoke"}`, `{"r":"ok"}`,
		fmt.Sprintf(`{"f":"add","p":1,"x":6,"r":"ok","t1":%d,"t2":%d}`, time.Minute, 2*time.Minute),
	)
	if err := s.stop(`{"done":"stop"}`); err != nil {
		t.Fatal(err)
	}
	if err := s.final(`{"f":"read","x":1,"r":"ok"}`, `{"f":"read","x":5,"r":"ok"}`, `{"done":"final"}`); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 add k= x=1 o=-1 d= ok  in order",
		"1 get k=a x=9 o=-1 d= ok  in order",
		`0 cas k=a x=3 o=-1 d={"from":1,"mismatch":true} fail declined in order`,
		"0 add k= x=4 o=-1 d= unknown reset in order",
		"2 add k= x=5 o=-1 d= ok  in order",
		"1 add k= x=6 o=-1 d= ok  in order",
		"2 read k= x=1 o=-1 d= ok  in order",
		"2 read k= x=5 o=-1 d= ok  in order",
		"2 end k= x=0 o=2 d= ok  in order",
	}
	if diff := cmp.Diff(want, s.told()); diff != "" {
		t.Error(diff)
	}
	if got := s.driver.Stats(); got.Invoked != 8 || got.OK != 6 || got.Failed != 1 || got.Unknown != 1 || got.InFlight != 0 || got.Read != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWhatNeverComesBackIsUnknown(t *testing.T) {
	t.Parallel()
	s := play(t, workload.Config{Clients: 2, Timeout: int64(time.Second)})
	s.say(`{"f":"add","x":1,"r":"invoke"}`)
	eventually(t, "it is invoked", func() bool { return s.driver.Stats().Invoked == 1 })
	s.clock.Add(int64(2 * time.Second))
	eventually(t, "it is given up", func() bool { return len(s.told()) > 0 })
	s.say(`{"r":"ok"}`, `{"f":"add","x":2,"r":"invoke"}`, `{"r":"ok"}`, `{"f":"add","p":1,"x":3,"r":"invoke"}`)
	if err := s.stop(`{"done":"stop"}`); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 add k= x=1 o=-1 d= unknown no answer within 1s never",
		"2 add k= x=2 o=-1 d= ok  in order",
		"1 add k= x=3 o=-1 d= unknown stopped before an answer came never",
	}
	if diff := cmp.Diff(want, s.told()); diff != "" {
		t.Error(diff)
	}
	if got := s.driver.Stats(); got.Late != 1 || got.Unknown != 2 {
		t.Errorf("%+v", got)
	}
}

func eventually(t *testing.T, what string, hold func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !hold() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestALineThatMayNotBeEndsTheRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, want string }{
		{`hello`, `line 2 of driver: invalid character 'h' looking for beginning of value: hello`},
		{`{"f":"add"`, "line 2 of driver: it is cut off"},
		{`{"f":"add","r":"invoke"} {}`, "there is more than one JSON object"},
		{`{"f":"add","r":"invoke","value":1}`, `unknown field "value"`},
		{`{"f":"add","r":"done"}`, `r = "done" is not one of invoke, ok, fail, unknown`},
		{`{"f":"insert","r":"invoke"}`, `f = "insert" is no function`},
		{`{"r":"invoke"}`, "f is missing"},
		{`{"f":"add","p":2,"r":"invoke"}`, "p = 2, but the workload has 2 clients, from 0"},
		{`{"f":"add","p":-1,"r":"invoke"}`, "p = -1 is negative"},
		{`{"f":"add","r":"invoke"}`, "client 0 invokes an operation while that of line 1 has not come back"},
		{`{"f":"get","r":"ok"}`, `f = "get" completes an operation that was invoked as "add"`},
		{`{"p":1,"r":"ok"}`, "client 1 has no operation that could come back"},
		{`{"f":"add","p":1,"r":"ok"}`, "client 1 has no operation that could come back"},
		{`{"f":"read","p":1,"x":1,"r":"ok","t1":1}`, `"read" belongs to the final read`},
		{`{"f":"add","p":1,"r":"ok","t1":5,"t2":4}`, "it ends at 4, before it begins at 5"},
		{`{"f":"add","p":1,"r":"ok","t1":1790000000000000000}`, "is later than its arrival"},
		{`{"done":"final"}`, "nobody has asked for the final read yet"},
		{`{"done":"start"}`, `done = "start" is neither "stop" nor "final"`},
		{`{"x":"1","f":"add","r":"invoke"}`, "cannot unmarshal string"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			s := play(t, workload.Config{Clients: 2})
			s.say(`{"f":"add","x":1,"r":"invoke"}`, c.line)
			err := <-s.broken
			if !errors.Is(err, program.ErrBroken) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line 2 of driver") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAProgramThatEndsTooEarlyIsNamed(t *testing.T) {
	t.Parallel()
	s := play(t, workload.Config{})
	s.say(`{"f":"add","x":1,"r":"invoke"}`)
	if err := s.out.Close(); err != nil {
		t.Fatal(err)
	}
	const want = "workload w: the program does not keep to the protocol: driver ended after 1 lines, before its final read was done: exit code 3: no module named redis"
	if err := <-s.broken; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if err := s.stop(); !errors.Is(err, program.ErrBroken) {
		t.Errorf("stop: %v", err)
	}
	if got := s.told(); len(got) != 1 || !strings.HasSuffix(got[0], "never") {
		t.Errorf("%v", got)
	}
}

func TestAProgramHasNoPhases(t *testing.T) {
	t.Parallel()
	c := workload.Config{Name: "w", Driver: program.Name, Target: "db:1", Rate: 1, Options: json.RawMessage(`{"command": ["driver"]}`), Phases: []workload.Phase{{At: 1, Rate: 2}}}
	if _, err := workload.New(c, []workload.Spec{program.Local(program.Env{})}); err == nil || !strings.Contains(err.Error(), "a program makes its own schedule") {
		t.Errorf("%v", err)
	}
}
