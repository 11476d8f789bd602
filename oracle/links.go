package oracle

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// links finds faults on links that some traffic went past: what a toxic does is proven for the bytes that the proxy saw, and
// for the system only where there were no others.
func (c *court) links() {
	for _, w := range c.windows {
		if !w.Fault.OnLink() {
			continue
		}
		routed := false
		for _, l := range c.h.Run.Links {
			if !l.In(w.Fault.Target) {
				continue
			}
			routed = true
			if past := pastProxy(l); past != "" {
				c.find(NoWitness, "%s is unproven: %s", title(w.Fault), past)
			}
		}
		if !routed {
			c.find(NoWitness, "%s is unproven: nobody counted what went past the proxy", title(w.Fault))
		}
	}
}

// pastProxy says what reached a link's server without its proxy, and without a reason; empty if nothing did.
func pastProxy(l ledger.Link) string {
	var what []string
	if n := l.Leaked(); n > 0 {
		what = append(what, plural(n, "connection"))
	}
	if l.Passed > 0 {
		what = append(what, plural(l.Passed, "packet"))
	}
	if len(what) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s reached %s past the proxy", strings.Join(what, " and "), l.Name, l.To)
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// foreign finds changes of toxics that did not come from the run: one finding, for a script may make thousands of them.
func (c *court) foreign() {
	const most = 3
	var told []string
	n := 0
	for _, e := range c.h.Events {
		if e.Source != "agent" || e.Type != ledger.EventForeignChange {
			continue
		}
		if n++; n <= most {
			told = append(told, cmp.Or(e.Detail, "somebody changed a toxic through the Toxiproxy API"))
		}
	}
	if n > most {
		told = append(told, plural(int64(n-most), "more change"))
	}
	if n > 0 {
		c.find(ForeignChange, "%s", strings.Join(told, "; "))
	}
}
