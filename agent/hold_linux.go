package agent

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	calm     = 20 * time.Millisecond // between two looks at held files
	alert    = time.Millisecond      // the same, while a container starts
	alertFor = 3 * time.Second       // after a cgroup was made: its runtime writes its own values within this time
)

// keeper keeps cgroup files at their held values. A container that restarts gets a new cgroup at the same path;
// inotify tells when, and from then on the files are looked at every millisecond, because the runtime writes its own
// values between making the cgroup and letting the program run.
type keeper struct {
	log func(string)

	setting sync.Mutex // one hold or release at a time

	mu        sync.Mutex
	onRewrite func(Rewritten)
	holds     map[CgroupFile]*hold // key without Value
	watched   map[string]bool      // directories that inotify watches
	inotify   int                  // 0 while not running, -1 where there is none
	running   bool
}

// hold is one file that is kept at a value.
type hold struct {
	file CgroupFile
	path string

	mu       sync.Mutex
	released bool
	seen     string // what the file reads after the value was written: kernels round
	complain string // the last error, told once
}

func key(f CgroupFile) CgroupFile {
	f.Value = ""
	return f
}

// hold writes f.Value, where the cgroup is there, and keeps it. On an error an earlier hold of the file stays.
func (k *keeper) hold(f CgroupFile, dir string) error {
	k.setting.Lock()
	defer k.setting.Unlock()
	n := &hold{file: f, path: filepath.Join(dir, f.File)}
	n.mu.Lock()
	defer n.mu.Unlock()
	k.mu.Lock()
	// The watch comes before the write: a cgroup that is made in between is seen.
	k.watch(filepath.Dir(dir))
	old := k.holds[key(f)]
	k.mu.Unlock()
	if old != nil {
		old.mu.Lock() // its loop must not write between our write and our registration
		defer old.mu.Unlock()
	}
	err := n.write()
	if err != nil && (!absent(err) || present(dir)) {
		return err
	}
	if old != nil {
		old.released = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holds == nil {
		k.holds = map[CgroupFile]*hold{}
	}
	k.holds[key(f)] = n
	if !k.running {
		k.watch(filepath.Dir(dir)) // the last loop took its watches along
		k.running = true
		go k.loop(k.inotify)
	}
	return nil
}

func present(dir string) bool {
	_, err := readValue(filepath.Join(dir, "cgroup.procs"))
	return err == nil
}

// release ends a hold. When it returns, nothing writes the held value any more.
func (k *keeper) release(f CgroupFile) {
	k.setting.Lock()
	defer k.setting.Unlock()
	k.mu.Lock()
	h := k.holds[key(f)]
	delete(k.holds, key(f))
	k.mu.Unlock()
	if h != nil {
		h.mu.Lock()
		h.released = true
		h.mu.Unlock()
	}
}

func (k *keeper) close() {
	k.mu.Lock()
	holds := k.holds
	k.holds = nil
	k.mu.Unlock()
	for _, h := range holds {
		h.mu.Lock()
		h.released = true
		h.mu.Unlock()
	}
}

// watch makes inotify tell of new cgroups below a directory. The caller holds mu.
func (k *keeper) watch(parent string) {
	if k.inotify == 0 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			k.log(fmt.Sprintf("watch cgroups: inotify: %v; held values may come back late after a restart", err))
			fd = -1
		}
		k.inotify, k.watched = fd, map[string]bool{}
	}
	if k.inotify < 0 || k.watched[parent] {
		return
	}
	if _, err := unix.InotifyAddWatch(k.inotify, parent, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		k.log(fmt.Sprintf("watch cgroups in %s: %v; held values may come back late after a restart", parent, err))
		return
	}
	k.watched[parent] = true
}

// loop looks at every hold until there is none.
func (k *keeper) loop(fd int) {
	var until time.Time
	for {
		k.mu.Lock()
		if len(k.holds) == 0 {
			k.running = false
			if k.inotify > 0 {
				_ = unix.Close(k.inotify) // an inotify descriptor has nothing to lose
			}
			k.inotify, k.watched = 0, nil
			k.mu.Unlock()
			return
		}
		holds := make([]*hold, 0, len(k.holds))
		for _, h := range k.holds {
			holds = append(holds, h)
		}
		tell := k.onRewrite
		k.mu.Unlock()
		for _, h := range holds {
			if was, again := h.look(k.log); again && tell != nil {
				now, _ := BootTime() // 0 where there is no clock
				tell(Rewritten{CgroupFile: h.file, Was: was, At: now})
			}
		}
		wait := calm
		if time.Now().Before(until) || fd < 0 {
			wait = alert
		}
		if poll(fd, wait) {
			until = time.Now().Add(alertFor)
		}
	}
}

// poll waits, at most for the given time, for a new cgroup.
func poll(fd int, wait time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small; a negative one is ignored: then this only waits
	n, err := unix.Poll(fds, int(wait.Milliseconds()))
	if err != nil || n == 0 || fd < 0 {
		return false
	}
	var buf [64 * (unsafe.Sizeof(unix.InotifyEvent{}) + unix.NAME_MAX + 1)]byte
	for {
		if n, err := unix.Read(fd, buf[:]); n <= 0 || err != nil {
			return true // a container of somebody else costs three seconds of closer looks, no more
		}
	}
}

// write writes the value and remembers how it reads. The caller holds mu.
func (h *hold) write() error {
	if err := writeValue(h.path, h.file.Value); err != nil {
		return err
	}
	seen, err := readValue(h.path)
	if err != nil {
		return err
	}
	h.seen = seen
	return nil
}

// look writes the file again if it does not have the held value; was is the value that it had.
func (h *hold) look(log func(string)) (was string, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return "", false
	}
	was, err := readValue(h.path)
	if err == nil && was == h.seen && h.seen != "" {
		return "", false
	}
	if err == nil {
		err = h.write()
	}
	if err == nil {
		h.complain = ""
		return was, true
	}
	if text := err.Error(); !absent(err) && text != h.complain {
		h.complain = text
		log(fmt.Sprintf("hold %s of %s at %q: %v", h.file.File, short(h.file.Container), h.file.Value, err))
	}
	return "", false
}
