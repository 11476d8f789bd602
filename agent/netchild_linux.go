package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// netChild is the child process that owns proxies and rules: where it crashes, the agent lives on and heals. It is started
// by the first operation that needs it.
type netChild struct {
	exe  string
	log  func(string)
	emit func(string, json.RawMessage) // nil until somebody listens

	mu      sync.Mutex
	conn    *Conn
	closing bool
	dropped *Conn // of a child that is stopped on purpose
	ended   chan struct{}
}

// netOps forwards the operations of the networks to the child.
func (n *netChild) ops() Handler {
	h := Handler{}
	for _, name := range []string{
		OpNetStart, OpNetLeft, OpNetLinks, OpNetToxiproxy, OpNetDirect, OpNetConns, OpCut, OpUncut, OpCutState, OpReach, OpPeers,
	} {
		h[name] = func(ctx context.Context, args json.RawMessage) (any, error) {
			conn, err := n.get()
			if err != nil {
				return nil, err
			}
			var out json.RawMessage
			if err := conn.Call(ctx, name, args, &out); err != nil {
				return nil, err
			}
			if len(out) == 0 {
				return nil, nil //nolint:nilnil // no answer but the acknowledgement
			}
			return out, nil
		}
	}
	h[OpNetStop] = func(context.Context, json.RawMessage) (any, error) { return nil, n.stop() }
	return h
}

// get returns the child's stream, starting the child where there is none.
func (n *netChild) get() (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return nil, errors.New("start the networks' process: the agent is leaving")
	}
	if n.conn != nil {
		select {
		case <-n.conn.Done():
		default:
			return n.conn, nil
		}
	}
	started := make(chan error, 1)
	n.ended = make(chan struct{})
	go n.run(started, n.ended)
	if err := <-started; err != nil {
		n.conn = nil
		return nil, fmt.Errorf("start the networks' process: %w", err)
	}
	return n.conn, nil
}

// run starts the child and waits for it on one thread: the child dies with the thread that started it.
func (n *netChild) run(started chan<- error, ended chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(ended)
	cmd := exec.Command(n.exe, RoleNet) //nolint:noctx // it lives until close
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, ierr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	text, terr := cmd.StderrPipe()
	if err := errors.Join(ierr, oerr, terr); err != nil {
		started <- err
		return
	}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	n.conn = NewConn(out, in, n.event) // get waits for started with mu held
	conn := n.conn
	started <- nil
	said := make(chan struct{})
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(text); lines.Scan(); {
			n.log("networks: " + lines.Text())
		}
	}()
	<-conn.Done() // reading to the end comes before Wait
	<-said
	err := cmd.Wait()
	n.mu.Lock()
	meant := n.closing || n.dropped == conn
	n.mu.Unlock()
	if meant {
		return
	}
	why := fmt.Sprintf("the process that serves the links ended (%v): its rules, proxies and connections are gone", err)
	n.log(why)
	if raw, jerr := json.Marshal(why); jerr == nil {
		n.event(Event{Name: EventNetLost, Data: raw})
	}
}

func (n *netChild) event(e Event) {
	n.mu.Lock()
	emit := n.emit
	n.mu.Unlock()
	if emit != nil {
		emit(e.Name, e.Data)
	}
}

// leaves is how long the child may take to remove what it made; killed, it leaves nothing either.
const leaves = 5 * time.Second

func (n *netChild) close() {
	n.mu.Lock()
	n.closing = true
	conn, ended := n.conn, n.ended
	n.mu.Unlock()
	if err := n.end(conn, ended); err != nil {
		n.log(err.Error() + "; it is killed with the agent")
	}
}

// stop ends the child as its owner wants it, which is no loss.
func (n *netChild) stop() error {
	n.mu.Lock()
	conn, ended := n.conn, n.ended
	n.conn, n.dropped = nil, conn
	n.mu.Unlock()
	return n.end(conn, ended)
}

// end ends a child's input and waits until it is gone; nil is none.
func (n *netChild) end(conn *Conn, ended <-chan struct{}) error {
	if conn == nil {
		return nil
	}
	if err := conn.Close(); err != nil {
		n.log("end the networks' process: " + err.Error())
	}
	timer := time.NewTimer(leaves)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("the networks' process does not end within %s", leaves)
	}
}
