package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/discompose/discompose/ledger"
)

// linkView is one routed link with the faults that were aimed at it.
type linkView struct {
	ledger.Link
	Faults []faultView // in the order of time
}

// linkViews lists every routed link, in the order of the run.
func (r *Record) linkViews() []linkView {
	faults := r.faultViews()
	var out []linkView
	for _, l := range r.Run.Links {
		v := linkView{Link: l}
		for _, f := range faults {
			if l.In(f.Target) {
				v.Faults = append(v.Faults, f)
			}
		}
		out = append(out, v)
	}
	return out
}

// uncounted is how many connections of the proxy no server counted: the counters of a server end with it.
func (v linkView) uncounted() int64 { return max(0, v.Dialled-v.Arrived) }

// proof says in a few words whether anything went past the proxy; sound is false where that is not known to be nothing.
func (v linkView) proof() (text string, sound bool) {
	var past []string
	if n := v.Leaked(); n > 0 {
		past = append(past, countOf(n, "connection"))
	}
	if v.Passed > 0 {
		past = append(past, countOf(v.Passed, "packet"))
	}
	switch {
	case len(past) > 0:
		return strings.Join(past, " and ") + " passed by", false
	case v.uncounted() > 0:
		return count(v.uncounted()) + " not counted", false
	case v.Accepted+v.Arrived == 0:
		return "no connection", true
	}
	return "nothing passed by", true
}

// counted is the proof in numbers.
func (v linkView) counted() string {
	if v.Accepted+v.Arrived+v.Direct+v.Passed+v.Guarded == 0 {
		return "nobody connected"
	}
	text := fmt.Sprintf("servers counted %s, the proxy dialled %s", countOf(v.Arrived, "new connection"), count(v.Dialled))
	if v.DialFailed > 0 {
		text += fmt.Sprintf(" (and %s in vain)", count(v.DialFailed))
	}
	if v.Direct > 0 {
		text += fmt.Sprintf(", and let %s past on purpose, while %s could not be reached", count(v.Direct), clean(v.To, 80))
	}
	text += "; " + countOf(v.Passed, "packet") + " passed by"
	if v.Guarded > 0 {
		text += ", and the guard stopped " + count(v.Guarded)
	}
	return text
}

// closings says what the proxy itself closed, and with what; empty for nothing.
func (v linkView) closings() string {
	reasons := map[string]string{
		"down": "while the link was down", "dial": "whose server could not be reached", "close": "that were open when their client's end was taken away",
	}
	var parts []string
	for _, c := range v.Closed {
		why := cmp.Or(reasons[c.By], "by the toxic "+clean(c.By, 80))
		parts = append(parts, fmt.Sprintf("%s %s (%s)", count(c.Count), why, clean(strings.ToUpper(c.How), 10)))
	}
	return strings.Join(parts, ", ")
}

// resets says which connections the guard closed, and why; empty for none.
func (r *Record) resets(v linkView) string {
	type group struct {
		count       int
		first, last int64
	}
	groups := map[string]*group{}
	var order []string
	for _, x := range v.Resets {
		g := groups[x.Why]
		if g == nil {
			g = &group{first: x.At}
			groups[x.Why] = g
			order = append(order, x.Why)
		}
		g.count += x.Count
		g.first, g.last = min(g.first, x.At), max(g.last, x.At)
	}
	var parts []string
	for _, why := range order {
		g := groups[why]
		text := countOf(g.count, "connection") + " at " + r.offset(g.first, 1)
		if end := r.offset(g.last, 1); end != r.offset(g.first, 1) {
			text += " to " + end
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", text, clean(cmp.Or(why, "without a reason"), 200)))
	}
	return strings.Join(parts, ", ")
}

// linkLine is one link in one line of plain text.
func (r *Record) linkLine(v linkView) string {
	proof, _ := v.proof()
	text := fmt.Sprintf("%s: %s, %s up, %s down; %s", clean(v.Name, 120), countOf(v.Accepted, "connection"), bytesText(v.Upstream), bytesText(v.Downstream), proof)
	if closed := v.closings(); closed != "" {
		text += "; closed " + closed
	}
	return clean(text+"; reset by discompose: "+cmp.Or(r.resets(v), "none"), maxProse)
}

// links shows what was routed: how much went through, the proof that nothing went past, and what was done to it.
func (d *doc) links() {
	views := d.r.linkViews()
	if len(views) == 0 {
		if d.r.Run.APIOnly != "" {
			d.section("Links")
			d.para("No connection was routed through a proxy, for there was no agent: " + prose(d.r.Run.APIOnly) + ".")
		}
		return
	}
	d.section("Links")
	t := newTable("link", ">clients", ">connections", ">failed dials", ">bytes up", ">bytes down", ">past on purpose", "proof")
	for _, v := range views {
		proof, sound := v.proof()
		if !sound {
			proof = "**" + proof + "**"
		}
		t.row(prose(v.Name), count(v.Clients), count(v.Accepted), count(v.DialFailed), bytesText(v.Upstream), bytesText(v.Downstream), count(v.Direct), proof)
	}
	d.table(t)
	for _, v := range views {
		d.link(v)
	}
}

func (d *doc) link(v linkView) {
	text := fmt.Sprintf("**%s**: %s.", prose(v.Name), prose(v.counted()))
	switch n := v.uncounted(); {
	case v.Leaked() > 0 || v.Passed > 0:
		text += " **Some of its traffic did not pass the proxy: faults on this link are not proven.**"
	case n > 0:
		text += fmt.Sprintf(" %s of the proxy went uncounted (a server that ends takes its counter along), so as many may have passed by unseen.", countOf(n, "connection"))
	}
	closed, resets := v.closings(), d.r.resets(v)
	if len(v.Faults) == 0 && closed == "" && resets == "" && v.Unrouted == "" {
		d.para(text + " No toxic; discompose closed and reset nothing.")
		return
	}
	d.para(text)
	for _, f := range v.Faults {
		d.printf("- %s\n", d.toxic(v, f))
	}
	if len(v.Faults) == 0 {
		d.printf("- No toxic\n")
	}
	d.printf("- Closed by the proxy: %s\n", prose(cmp.Or(closed, "none")))
	d.printf("- Reset by discompose: %s\n", prose(cmp.Or(resets, "none")))
	if v.Unrouted != "" {
		d.printf("- **Not routed**: %s\n", prose(v.Unrouted))
	}
	d.b.WriteString("\n")
}

// toxic is one fault on a link, with its window.
func (d *doc) toxic(v linkView, f faultView) string {
	text := "Toxic **" + prose(faultName(f.Fault)) + "**: " + prose(f.Kind)
	if f.Kind == "down" { // Toxiproxy disables the proxy, without a toxic
		text = "Down by **" + prose(faultName(f.Fault)) + "**"
	}
	if f.Target != v.Name {
		text += " on " + prose(f.Target)
	}
	switch {
	case f.Window != nil:
		return fmt.Sprintf("%s, %s to %s (%s)", text, d.r.offset(f.Window.From, 1), d.r.offset(f.Window.To, 1), length(f.Window.To-f.Window.From))
	case f.Called != 0:
		return text + ", called at " + d.r.offset(f.Called, 1) + ", without a window"
	}
	return text + ", never applied"
}

// DocumentLink is one routed link.
type DocumentLink struct {
	ledger.Link
	Closed []ledger.LinkClose `json:"closed"`
	Resets []DocumentReset    `json:"resets"`
	Leaked int64              `json:"leaked"` // connections that reached a server past the proxy without a reason
	Faults []string           `json:"faults"` // records of the faults that were aimed at it, in the order of time
}

// DocumentReset tells of connections that the guard closed, with their place on the timeline.
type DocumentReset struct {
	ledger.LinkReset
	AtS float64 `json:"at_s"`
}

func (r *Record) documentLink(v linkView) DocumentLink {
	out := DocumentLink{Link: v.Link, Closed: list(slices.Clone(v.Closed)), Resets: []DocumentReset{}, Leaked: v.Leaked(), Faults: []string{}}
	for _, x := range v.Resets {
		out.Resets = append(out.Resets, DocumentReset{x, r.sinceOrigin(x.At)})
	}
	for _, f := range v.Faults {
		out.Faults = append(out.Faults, f.Record)
	}
	return out
}
