package workload

import "sync"

// Servers shares the servers of a system out among its clients. Its methods are safe for concurrent use.
type Servers struct {
	list []string

	mu    sync.Mutex
	users []int // by server: clients that have it
}

// NewServers is for the servers of a list, or for the target alone where the list is empty.
func NewServers(target string, list []string) *Servers {
	if len(list) == 0 {
		list = []string{target}
	}
	return &Servers{list: list, users: make([]int, len(list))}
}

// All lists the servers as they were given.
func (s *Servers) All() []string { return s.list }

// Take gives a process a server: one that has the fewest others, so that whoever takes a retired process' place takes its
// server as well. Where several have as few, process n begins to look at server n. The list begins with that server and has
// the others behind it, for clients that may go on to them. back gives the server back; only its first call counts.
func (s *Servers) Take(process int) (list []string, back func()) {
	n := len(s.list)
	s.mu.Lock()
	defer s.mu.Unlock()
	best := process % n
	for i := range n {
		if at := (process + i) % n; s.users[at] < s.users[best] {
			best = at
		}
	}
	s.users[best]++
	list = append(append(make([]string, 0, n), s.list[best:]...), s.list[:best]...)
	return list, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users[best]--
	})
}
