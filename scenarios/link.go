package scenarios

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// LinkRef names TCP connections from one side to one port of the other. From is a service or a glob, "workload.<name>",
// "workload" (all of these), "probes" or "*" (everything but the server itself); To is a service or a glob. An edge is one
// whose From and To are no globs.
type LinkRef struct {
	From string
	To   string
	Port int
}

// ParseLink reads "web->db:5432".
func ParseLink(text string) (LinkRef, bool) {
	from, to, ok := strings.Cut(text, "->")
	if !ok {
		return LinkRef{}, false
	}
	service, port, ok := strings.Cut(strings.TrimSpace(to), ":")
	n, err := strconv.Atoi(port)
	from = strings.TrimSpace(from)
	if !ok || err != nil || n < 1 || n > 65535 || from == "" || service == "" {
		return LinkRef{}, false
	}
	return LinkRef{From: from, To: service, Port: n}, true
}

// String is "web->db:5432".
func (l LinkRef) String() string { return fmt.Sprintf("%s->%s:%d", l.From, l.To, l.Port) }

// Covers reports whether the edge is one of those that l names.
func (l LinkRef) Covers(edge LinkRef) bool {
	return l.Port == edge.Port && fits(l.To, edge.To) && edge.From != edge.To &&
		(fits(l.From, edge.From) || (l.From == "workload" && strings.HasPrefix(edge.From, "workload.")))
}

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
