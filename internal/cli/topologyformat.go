package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/discompose/discompose/compose"
)

// topologyText writes a table of services and one of links.
func topologyText(out io.Writer, t compose.Topology) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tREPLICAS\tPORTS\tNETWORKS")
	for _, s := range t.Services {
		networks := strings.Join(s.Networks, ", ")
		if s.NetworkMode != "" {
			networks = s.NetworkMode
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.Name, s.Replicas, dash(strings.Join(ports(s), ", ")), dash(networks))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(t.Links) == 0 {
		_, err := fmt.Fprintln(out, "\nno link is known")
		return err
	}
	fmt.Fprintln(w, "\nLINK\tWHY")
	for _, l := range t.Links {
		to := fmt.Sprintf("%s:%d", l.To, l.Port)
		if l.Port == 0 {
			to = l.To + " port ?"
		}
		fmt.Fprintf(w, "%s -> %s\t%s\n", l.From, to, strings.Join(l.Why, ", "))
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ports are the ports of a service in its container, TCP ones as bare numbers.
func ports(s compose.Service) []string {
	var out []string
	for _, n := range s.Ports {
		text := strconv.Itoa(n)
		if slices.Contains(s.UDPPorts, n) {
			text += "/udp"
		}
		out = append(out, text)
	}
	return out
}

// label is what a drawing writes on a link.
func label(l compose.TopologyLink) string {
	if l.Port == 0 {
		return "?"
	}
	return strconv.Itoa(l.Port)
}

// nodes are the names to draw, with their captions, sorted: the services, and whoever else a link begins or ends at.
func nodes(t compose.Topology) (names []string, captions map[string]string) {
	captions = map[string]string{}
	for _, s := range t.Services {
		captions[s.Name] = s.Name
		if s.Replicas != 1 {
			captions[s.Name] = fmt.Sprintf("%s ×%d", s.Name, s.Replicas)
		}
	}
	for _, l := range t.Links {
		for _, name := range []string{l.From, l.To} {
			if captions[name] == "" {
				captions[name] = name
			}
		}
	}
	for name := range captions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, captions
}

// topologyMermaid writes a flowchart. Its ids are numbered: a name may hold what Mermaid reads as syntax ("end", "a-.b").
func topologyMermaid(out io.Writer, t compose.Topology) error {
	var b bytes.Buffer
	b.WriteString("flowchart LR\n")
	names, captions := nodes(t)
	ids := map[string]string{}
	for i, name := range names {
		ids[name] = fmt.Sprintf("s%d", i+1)
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", ids[name], strings.ReplaceAll(captions[name], `"`, "#quot;"))
	}
	for _, l := range t.Links {
		fmt.Fprintf(&b, "  %s -->|\"%s\"| %s\n", ids[l.From], label(l), ids[l.To])
	}
	_, err := out.Write(b.Bytes())
	return err
}

// topologyDOT writes a graph for Graphviz.
func topologyDOT(out io.Writer, t compose.Topology) error {
	var b bytes.Buffer
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	b.WriteString("digraph topology {\n  rankdir=LR;\n  node [shape=box];\n")
	names, captions := nodes(t)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s [label=%s];\n", quote(name), quote(captions[name]))
	}
	for _, l := range t.Links {
		fmt.Fprintf(&b, "  %s -> %s [label=%s];\n", quote(l.From), quote(l.To), quote(label(l)))
	}
	b.WriteString("}\n")
	_, err := out.Write(b.Bytes())
	return err
}
