package routing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"

	"github.com/discompose/discompose/agent"
)

// Engine is the slice of the Docker API that a Manager needs; *client.Client has it.
type Engine interface {
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	Events(ctx context.Context, o events.ListOptions) (<-chan events.Message, <-chan error)
}

// The labels of the engine's own tools.
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelNumber  = "com.docker.compose.container-number"
	labelOneOff  = "com.docker.compose.oneoff"
)

// looks is how often a new cgroup is looked at until its program's namespace is there; startsWithin is for how long: an
// engine under load takes seconds between making the cgroup and starting the program.
const (
	looks        = 300 * time.Microsecond
	startsWithin = 20 * time.Second
)

// paths are where the kernel shows processes and the containers' cgroups.
type paths struct{ proc, containers string }

// findPaths finds the folder in which the engine makes containers' cgroups: the one that holds this process' own. One
// hierarchy is enough: a container is in all of them.
func findPaths(proc, cgroup string) (paths, error) {
	b, err := os.ReadFile(filepath.Join(proc, "self", "cgroup"))
	if err != nil {
		return paths{}, fmt.Errorf("read own cgroups: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		id := fullID.FindStringIndex(f[2])
		if id == nil {
			continue
		}
		controller, _, _ := strings.Cut(f[1], ",")
		dir := filepath.Join(cgroup, controller, filepath.Dir(f[2][:id[1]]))
		if _, err := os.Stat(dir); err == nil {
			return paths{proc, dir}, nil
		}
	}
	return paths{}, errors.New("watch cgroups: this process is in no container's cgroup")
}

// nsFile is an open network namespace.
type nsFile struct {
	*os.File
	inode uint64
}

var fullID = regexp.MustCompile(`[0-9a-f]{64}`)

// watch follows new cgroups, and the engine's events for what that misses.
func (m *Manager) watch() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch cgroups: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, m.paths.containers, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		return errors.Join(fmt.Errorf("watch cgroups in %s: %w", m.paths.containers, err), f.Close())
	}
	context.AfterFunc(m.ctx, func() { _ = f.Close() }) // ends the read below
	since := time.Now()                                // of the engine's clock: it is on this host
	m.work.Go(func() { m.follow(f) })
	m.work.Go(func() { m.followEvents(since) })
	return nil
}

// follow adopts the container of each cgroup that is made.
func (m *Manager) follow(f *os.File) {
	buf := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := f.Read(buf)
		if err != nil {
			if m.ctx.Err() == nil {
				m.o.Log("watch cgroups: " + err.Error())
			}
			return
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at])) //nolint:gosec // the kernel writes this struct
			name := string(buf[at+unix.SizeofInotifyEvent : at+unix.SizeofInotifyEvent+int(e.Len)])
			at += unix.SizeofInotifyEvent + int(e.Len)
			if id := fullID.FindString(name); id != "" {
				m.work.Go(func() { m.adoptNew(id) })
			}
		}
	}
}

// adoptNew arms a container that is about to start, as soon as its namespace is there.
func (m *Manager) adoptNew(id string) {
	ctx, cancel := context.WithTimeout(m.ctx, startsWithin)
	defer cancel()
	// The list answers while the engine starts the container; an inspect would wait until it has.
	x, err := m.describe(ctx, id)
	if err != nil || x == nil {
		if err != nil && m.ctx.Err() == nil {
			m.o.Log(fmt.Sprintf("arm container %.12s: %v", id, err))
		}
		return
	}
	tick := time.NewTicker(looks)
	defer tick.Stop()
	for {
		if m.adoptFrom(x, false) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return // in the host's namespace, or it never started: the engine's events tell of it if it did
		}
	}
}

// describe finds out who a container is; nil without an error is one of somebody else.
func (m *Manager) describe(ctx context.Context, id string) (*member, error) {
	list, err := m.o.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("id", id))})
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.ID == id {
			return m.memberOf(c), nil
		}
	}
	return nil, nil //nolint:nilnil // gone already
}

func (m *Manager) memberOf(c container.Summary) *member {
	l := c.Labels
	switch {
	case l[agent.LabelRun] == m.start.Run && l[agent.LabelClient] != "":
		return &member{id: c.ID, who: l[agent.LabelClient], name: l[agent.LabelClient]}
	case l[labelProject] == m.start.Project && l[labelService] != "" && l[labelOneOff] != "True":
		x := &member{id: c.ID, who: l[labelService], name: l[labelService]}
		if n := l[labelNumber]; n != "" && n != "1" {
			x.name += "[" + n + "]"
		}
		return x
	}
	return nil
}

// adoptFrom joins a container by a process in its cgroup whose network namespace is its own by now.
func (m *Manager) adoptFrom(x *member, late bool) bool {
	for _, pid := range m.paths.pids(x.id) {
		ns, ok := m.paths.namespace(pid)
		if !ok {
			continue
		}
		x.pid = pid
		m.adopt(x, ns, late)
		return true
	}
	return false
}

func (m *Manager) adopt(x *member, ns nsFile, late bool) {
	joined, err := m.join(x, ns, late)
	if err != nil && m.ctx.Err() == nil {
		m.o.Log(err.Error())
	}
	if joined {
		m.work.Go(func() { m.untilExit(x) })
	}
}

// adoptRunning joins what runs already.
func (m *Manager) adoptRunning(ctx context.Context) error {
	list, err := m.o.Docker.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range list {
		if x := m.memberOf(c); x != nil {
			m.adoptByEngine(ctx, x)
		}
	}
	return nil
}

// adoptByEngine joins a running container by the pid that the engine has for it.
func (m *Manager) adoptByEngine(ctx context.Context, x *member) {
	m.mu.Lock()
	known := m.members[x.id]
	m.mu.Unlock()
	if known != nil {
		return
	}
	got, err := m.o.Docker.ContainerInspect(ctx, x.id)
	if err != nil || got.State == nil || got.State.Pid <= 0 {
		return // it has ended meanwhile
	}
	if !m.paths.owns(got.State.Pid, x.id) {
		return
	}
	if ns, ok := m.paths.namespace(got.State.Pid); ok {
		x.pid = got.State.Pid
		m.adopt(x, ns, true) //nolint:contextcheck // what it begins outlives this call
	}
}

// followEvents joins containers whose cgroup was made elsewhere, which the watch does not see.
func (m *Manager) followEvents(since time.Time) {
	messages, errs := m.o.Docker.Events(m.ctx, events.ListOptions{
		Since:   strconv.FormatInt(since.Unix(), 10), // those meanwhile come too
		Filters: filters.NewArgs(filters.Arg("type", "container"), filters.Arg("event", "start")),
	})
	for {
		select {
		case e := <-messages:
			if x, err := m.describe(m.ctx, e.Actor.ID); err == nil && x != nil {
				m.adoptByEngine(m.ctx, x)
			}
		case err := <-errs:
			if m.ctx.Err() == nil {
				m.o.Log(fmt.Sprintf("follow the engine's events: %v", err))
			}
			return
		case <-m.ctx.Done():
			return
		}
	}
}

// pids lists the processes in a container's cgroup: "<id>" with the cgroupfs driver, "docker-<id>.scope" with systemd's.
func (p paths) pids(id string) []int {
	var out []int
	for _, name := range []string{id, "docker-" + id + ".scope"} {
		b, err := os.ReadFile(filepath.Join(p.containers, name, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				out = append(out, pid)
			}
		}
	}
	return out
}

// owns reports whether a process is in a cgroup that carries the container's id.
func (p paths) owns(pid int, id string) bool {
	b, err := os.ReadFile(filepath.Join(p.proc, strconv.Itoa(pid), "cgroup"))
	return err == nil && strings.Contains(string(b), id)
}

// namespace opens a process' network namespace, unless that is the engine's, the host's or this process' own. The engine's
// is the one of the process' parent: it started the program. A process whose parent is in the container has the parent's.
func (p paths) namespace(pid int) (nsFile, bool) {
	f, err := os.Open(p.net(strconv.Itoa(pid)))
	if err != nil {
		return nsFile{}, false
	}
	inode, err := inodeOf(f)
	if err == nil && p.elsewhere(inode, pid) {
		return nsFile{f, inode}, true
	}
	_ = f.Close() // opened to read
	return nsFile{}, false
}

func (p paths) net(pid string) string { return filepath.Join(p.proc, pid, "ns", "net") }

// elsewhere reports whether a namespace is known to be neither the engine's nor the host's nor this process'.
func (p paths) elsewhere(inode uint64, pid int) bool {
	parent, ok := p.parent(pid)
	if !ok {
		return false
	}
	for _, other := range []string{parent, "self", "1", "2"} { // 2 is the kernel's own: always in the host's
		var st unix.Stat_t
		err := unix.Stat(p.net(other), &st)
		if err == nil && st.Ino == inode || err != nil && (other == parent || other == "self") {
			return false
		}
	}
	return true
}

func (p paths) parent(pid int) (string, bool) {
	b, err := os.ReadFile(filepath.Join(p.proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "PPid:"); ok {
			parent := strings.TrimSpace(rest)
			return parent, parent != "0"
		}
	}
	return "", false
}

// untilExit takes a member out when its last process has ended. The process by which it was found may be one of the
// engine's helpers, which end before the program begins.
func (m *Manager) untilExit(x *member) {
	pid, inode := x.pid, x.space.inode
	for m.ctx.Err() == nil {
		awaitExit(m.ctx, pid)
		pid = 0
		for _, p := range m.paths.pids(x.id) {
			if ns, ok := m.paths.namespace(p); ok {
				if ns.inode == inode {
					pid = p
				}
				_ = ns.Close() // opened to read
			}
		}
		if pid == 0 {
			m.leave(x)
			return
		}
	}
}

// awaitExit returns when a process has ended, or ctx.
func awaitExit(ctx context.Context, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 500) //nolint:gosec // a descriptor fits
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
}
