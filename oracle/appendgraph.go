package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The kinds of dependencies between transactions, as bits.
const (
	edgeWW   uint8 = 1 << iota // the second wrote right behind the first
	edgeWR                     // the second read what the first wrote
	edgeRW                     // the second wrote behind what the first had read
	edgeTime                   // the first returned before the second was invoked
)

// appendGraph has the dependencies of transactions.
type appendGraph struct {
	out [][]appendEdge // by node
}

type appendEdge struct {
	to   int32
	list int32
	kind uint8
}

// nodes adds nodes behind the first so many; it returns the first of them.
func (g *appendGraph) nodes(first, more int) int32 {
	for len(g.out) < first+more {
		g.out = append(g.out, nil)
	}
	return int32(first) //nolint:gosec // as many as operations
}

func (g *appendGraph) add(from, to int32, kind uint8, list int32) {
	if from == to {
		return
	}
	g.nodes(int(max(from, to))+1, 0)
	g.out[from] = append(g.out[from], appendEdge{to, list, kind})
}

// only is the graph with the edges of some kinds.
func (g *appendGraph) only(kinds uint8) *appendGraph {
	sub := &appendGraph{out: make([][]appendEdge, len(g.out))}
	for from, edges := range g.out {
		for _, e := range edges {
			if e.kind&kinds != 0 {
				sub.out[from] = append(sub.out[from], e)
			}
		}
	}
	return sub
}

// apart is a graph of which each circle is one of g without two edgeRW in a row: node 2n is n, reached otherwise, and node
// 2n+1 is n, reached by one.
func (g *appendGraph) apart() *appendGraph {
	sub := &appendGraph{out: make([][]appendEdge, 2*len(g.out))}
	for from, edges := range g.out {
		for _, e := range edges {
			if e.kind == edgeRW {
				sub.out[2*from] = append(sub.out[2*from], appendEdge{2*e.to + 1, e.list, e.kind})
				continue
			}
			for node := 2 * from; node <= 2*from+1; node++ {
				sub.out[node] = append(sub.out[node], appendEdge{2 * e.to, e.list, e.kind})
			}
		}
	}
	return sub
}

// components lists the strongly connected components of more than one node (Tarjan), the nodes of each in order.
func (g *appendGraph) components(stop func(int) bool) [][]int32 {
	t := &tarjan{g: g, number: make([]int32, len(g.out)), low: make([]int32, len(g.out)), on: make([]bool, len(g.out))}
	for root := range g.out {
		if stop(root) {
			return nil
		}
		if t.number[root] == 0 {
			t.walk(int32(root)) //nolint:gosec // as many as operations
		}
	}
	slices.SortFunc(t.found, func(a, b []int32) int { return cmp.Compare(a[0], b[0]) })
	return t.found
}

// tarjan is the state of the search, without recursion: a component may be as deep as the history is long.
type tarjan struct {
	g           *appendGraph
	number, low []int32 // by node; number 0: not met yet
	on          []bool
	stack       []int32
	met         int32
	found       [][]int32
}

func (t *tarjan) walk(root int32) {
	type frame struct {
		node int32
		edge int
	}
	path := []frame{{node: root}}
	t.meet(root)
	for len(path) > 0 {
		f := &path[len(path)-1]
		if edges := t.g.out[f.node]; f.edge < len(edges) {
			to := edges[f.edge].to
			f.edge++
			switch {
			case t.number[to] == 0:
				t.meet(to)
				path = append(path, frame{node: to})
			case t.on[to]:
				t.low[f.node] = min(t.low[f.node], t.number[to])
			}
			continue
		}
		node := f.node
		path = path[:len(path)-1]
		if len(path) > 0 {
			up := path[len(path)-1].node
			t.low[up] = min(t.low[up], t.low[node])
		}
		if t.low[node] == t.number[node] {
			t.close(node)
		}
	}
}

func (t *tarjan) meet(node int32) {
	t.met++
	t.number[node], t.low[node], t.on[node] = t.met, t.met, true
	t.stack = append(t.stack, node)
}

func (t *tarjan) close(node int32) {
	i := len(t.stack) - 1
	for ; t.stack[i] != node; i-- {
		t.on[t.stack[i]] = false
	}
	t.on[node] = false
	if part := slices.Clone(t.stack[i:]); len(part) > 1 {
		slices.Sort(part)
		t.found = append(t.found, part)
	}
	t.stack = t.stack[:i]
}

// appendStep is one edge of a circle.
type appendStep struct {
	from int32
	appendEdge
}

// circle finds a short circle in a component: the shortest through one of its first transactions. Steps of the clock's chain
// count nothing; nodes from lowest on are its.
func (g *appendGraph) circle(part []int32, lowest int32) []appendStep {
	const starts = 32
	inside := make(map[int32]bool, len(part))
	for _, n := range part {
		inside[n] = true
	}
	var best []appendStep
	tried := 0
	for _, start := range part {
		if start >= lowest {
			continue
		}
		if tried++; tried > starts {
			break
		}
		if c := g.back(start, lowest, inside); c != nil && (best == nil || weight(c, lowest) < weight(best, lowest)) {
			best = c
		}
	}
	return best
}

// weight is how many transactions a circle has.
func weight(circle []appendStep, lowest int32) int {
	n := 0
	for _, s := range circle {
		if s.from < lowest {
			n++
		}
	}
	return n
}

// back finds the shortest way from a node back to it. Steps to a node of the chain cost nothing, so these come first.
func (g *appendGraph) back(start, lowest int32, inside map[int32]bool) []appendStep {
	came := map[int32]appendStep{}
	now, next := []int32{start}, []int32(nil)
	for len(now) > 0 {
		for i := 0; i < len(now); i++ { //nolint:intrange // it grows
			node := now[i]
			for _, e := range g.out[node] {
				if _, seen := came[e.to]; seen || !inside[e.to] {
					continue
				}
				came[e.to] = appendStep{node, e}
				switch {
				case e.to == start:
					return trace(came, start)
				case e.to >= lowest:
					now = append(now, e.to)
				default:
					next = append(next, e.to)
				}
			}
		}
		now, next = next, now[:0:0]
	}
	return nil
}

func trace(came map[int32]appendStep, start int32) []appendStep {
	var steps []appendStep
	for node := start; ; {
		s := came[node]
		steps = append(steps, s)
		if node = s.from; node == start {
			slices.Reverse(steps)
			return steps
		}
	}
}

// cycles looks for circles of dependencies, the worst first. A component in which a worse one was found has its say.
func (c *appendCheck) cycles() {
	c.writes()
	c.graph.nodes(len(c.txns), 0)
	told := make([]bool, len(c.txns))
	txns := int32(len(c.txns)) //nolint:gosec // as many as operations
	c.search(c.graph.only(edgeWW), txns, told, 1)
	c.search(c.graph.only(edgeWW|edgeWR), txns, told, 1)
	if c.options.Isolation == readCommitted {
		return
	}
	c.search(c.graph.apart(), 2*txns, told, 2)
	if c.options.Isolation == snapshotIsolation {
		return
	}
	c.search(c.graph.only(edgeWW|edgeWR|edgeRW), txns, told, 1)
	if c.options.Isolation == strictSerializable {
		c.clock()
		c.search(&c.graph, txns, told, 1)
	}
}

// search reports one circle of each component of a graph whose nodes are so many for each transaction.
func (c *appendCheck) search(g *appendGraph, lowest int32, told []bool, each int32) {
	for _, part := range g.components(c.stopped) {
		if slices.ContainsFunc(part, func(n int32) bool { return n < lowest && told[n/each] }) {
			continue
		}
		circle := g.circle(part, lowest)
		for i := range circle {
			circle[i].from /= each
			circle[i].to /= each
		}
		for _, n := range part {
			if n < lowest {
				told[n/each] = true
			}
		}
		c.convict(circle)
	}
}

// convict names the transactions of a circle.
func (c *appendCheck) convict(circle []appendStep) {
	txns := int32(len(c.txns)) //nolint:gosec // as many as operations
	c.counts["cycles"]++
	var ops []int32
	at := int64(-1)
	for _, s := range circle {
		if s.from < txns {
			ops = append(ops, c.txns[s.from].op)
			at = max(at, c.op(s.from).Invoke)
		}
	}
	class, promise := anomaly(circle)
	c.breach(class, promise, at, func() string { return c.story(circle) }, ops...)
}

// anomaly names a circle.
func anomaly(circle []appendStep) (Class, string) {
	count := map[uint8]int{}
	adjacent := false
	for i, s := range circle {
		count[s.kind]++
		adjacent = adjacent || (s.kind == edgeRW && circle[(i+1)%len(circle)].kind == edgeRW && len(circle) > 1)
	}
	switch {
	case count[edgeTime] > 0:
		return NotLinearizable, "transactions take effect between their call and their return"
	case count[edgeRW] == 0 && count[edgeWR] == 0:
		return Invariant, "transactions do not write in a circle (G0, dirty write)"
	case count[edgeRW] == 0:
		return Invariant, "transactions do not read in a circle (G1c, circular information flow)"
	case count[edgeRW] == 1:
		return Invariant, "a transaction sees all of another one or nothing of it (G-single, read skew)"
	case !adjacent:
		return Invariant, "transactions see snapshots (G-nonadjacent)"
	}
	return Invariant, "transactions are as if one ran after the other (G2, write skew)"
}

// story tells a circle: who did what before whom.
func (c *appendCheck) story(circle []appendStep) string {
	txns := int32(len(c.txns)) //nolint:gosec // as many as operations
	var out strings.Builder
	for i, s := range circle {
		if s.from < txns {
			_, _ = fmt.Fprintf(&out, "%soperation %d", map[bool]string{true: "", false: " "}[i == 0], c.op(s.from).ID)
		}
		switch s.kind {
		case edgeWW:
			_, _ = fmt.Fprintf(&out, " appended to list %s before", c.lists[s.list].name)
		case edgeWR:
			_, _ = fmt.Fprintf(&out, " appended to list %s what was read by", c.lists[s.list].name)
		case edgeRW:
			_, _ = fmt.Fprintf(&out, " read list %s before the append of", c.lists[s.list].name)
		case edgeTime:
			if s.to < txns {
				_, _ = out.WriteString(" returned before the call of")
			}
		}
	}
	_, _ = fmt.Fprintf(&out, " operation %d", c.op(circle[0].from).ID)
	return out.String()
}
