package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// phase decodes the options of one phase: the workload's own, with what the phase says in their place, key by key.
func (d *decoder) phase(p *Phase, own, n *node, key string, zero func() any) {
	says := n.table["options"]
	p.Options = nil
	if says == nil || says.table == nil {
		return
	}
	key = joinKey(key, "options")
	into := zero()
	t := reflect.TypeOf(into).Elem()
	d.unchangeable(says, key, t, changeable(t, ""))
	d.tuned(over(own, says), key, into)
	if p.Changes = leaves(says, ""); len(p.Changes) > 0 {
		p.Options = into
	}
}

// unchangeable reports the keys of a phase's options that the driver needs to be the same all the time. Keys that it does
// not know are left to the decoder.
func (d *decoder) unchangeable(n *node, key string, t reflect.Type, may []string) {
	for _, k := range n.keys() {
		f, known := fieldOf(t, k)
		v, path := n.table[k], joinKey(key, k)
		if !known || f.phase {
			continue
		}
		if sub := structOf(f.typ); sub != nil && v.table != nil && len(changeable(sub, "")) > 0 {
			d.unchangeable(v, path, sub, may)
			continue
		}
		hint := "no option of this driver may: leave options out"
		if len(may) > 0 {
			hint = "what may: " + strings.Join(may, ", ")
		}
		d.add(v.place, path, "cannot change in a phase", hint)
	}
}

// changeable lists the options that a phase may hold, as keys below at.
func changeable(t reflect.Type, at string) (out []string) {
	for _, f := range fieldsOf(t) {
		if f.phase {
			out = append(out, joinKey(at, f.key))
		} else if sub := structOf(f.typ); sub != nil {
			out = append(out, changeable(sub, joinKey(at, f.key))...)
		}
	}
	return out
}

// over is own with what n says in place of what own says, tables key by key. Neither is changed.
func over(own, n *node) *node {
	if own == nil || own.table == nil || n.table == nil {
		return n
	}
	out := &node{place: n.place, table: maps.Clone(own.table)}
	for k, v := range n.table {
		out.table[k] = over(own.table[k], v)
	}
	return out
}

// leaves writes the values of a table as TOML would.
func leaves(n *node, at string) (out []string) {
	for _, k := range n.keys() {
		v, key := n.table[k], joinKey(at, k)
		if v.table != nil {
			out = append(out, leaves(v, key)...)
			continue
		}
		text := fmt.Sprint(v.plain())
		if s, ok := v.value.(string); ok && v.raw == "" {
			text = strconv.Quote(s)
		}
		out = append(out, key+" = "+text)
	}
	return out
}

func (v *validator) phases(key string, w Workload) {
	last := time.Duration(0)
	before := struct {
		rate    float64
		options any
	}{w.Rate, w.Options}
	for i, p := range w.Phase {
		at := indexKey(key, i)
		if o, ok := w.Options.(interface{ NoPhases() string }); ok {
			v.at(at, "the driver "+w.Driver+" has no phases", o.NoPhases())
			return
		}
		if p.At.Std() <= last {
			after := "0s, when the workload begins"
			if i > 0 {
				after = fmt.Sprintf("%s, when the phase before begins", w.Phase[i-1].At)
			}
			v.at(joinKey(at, "at"), fmt.Sprintf("%s is not after %s", p.At, after), "")
		}
		last = p.At.Std()
		now := before
		now.options = w.Options
		if p.Options != nil {
			now.options = p.Options
		}
		if rate := joinKey(at, "rate"); v.given(rate) {
			now.rate = p.Rate
			switch {
			case p.Rate <= 0:
				v.at(rate, "must be above 0", "leave it out to go on as before")
			case w.Rate == 0:
				v.at(rate, "the workload has no rate: it sends as fast as answers come", "give the workload a rate, or leave out the phase's")
			}
		}
		if reflect.DeepEqual(now, before) {
			v.at(at, "changes nothing", "write rate, or options")
		}
		before = now
	}
}

// least is the lowest rate that a workload has from one instant to another, both since it began to send; 0: as fast as answers
// come.
func (w Workload) least(from, to time.Duration) float64 {
	least, rate := math.Inf(1), w.Rate
	for i := range len(w.Phase) + 1 {
		begins, ends := time.Duration(0), time.Duration(math.MaxInt64)
		if i > 0 {
			begins, rate = w.Phase[i-1].At.Std(), cmp.Or(w.Phase[i-1].Rate, rate)
		}
		if i < len(w.Phase) {
			ends = w.Phase[i].At.Std()
		}
		if begins <= to && from < ends {
			least = min(least, rate)
		}
	}
	return least
}
