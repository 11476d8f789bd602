package runner

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/discompose/discompose/scenarios"
)

// What the plan takes for granted where only the run will tell.
const (
	someTime = 5 * time.Second  // for which a fault lasts that has no time of its own
	farApart = 10 * time.Second // between two faults that surely do not overlap: undos, gates and elections shift them
)

// draft keeps faults of different lanes from the same target, by when each is expected.
type draft struct {
	n     *scenarios.Nemesis
	from  [][]scenarios.Ref // what each of the nemesis' faults chooses from
	lanes [][]booking       // what was drawn so far, each lane in its order
}

// booking is when a fault that was drawn is expected, from the start of the timeline, and its targets.
type booking struct {
	from, to time.Duration
	targets  []scenarios.Ref
}

// expect is when a fault would last that is drawn for a lane, so long after the end of the one before.
func (d draft) expect(lane int, gap time.Duration, f scenarios.Fault) booking {
	b := booking{from: gap}
	if all := d.lanes[lane-1]; len(all) > 0 {
		b.from += all[len(all)-1].to
	}
	b.to = b.from + cmp.Or(holdTime(Injection{Fault: f}), someTime)
	return b
}

func (d draft) book(in Injection) {
	b := d.expect(in.Lane, in.At, in.Fault)
	if !in.Fault.Asks() { // else nobody knows yet which of them it will be
		b.targets = in.Targets
	}
	d.lanes[in.Lane-1] = append(d.lanes[in.Lane-1], b)
}

// apart tells of each target how much time there is between a fault and those of other lanes on the same target, at most
// farApart; 0 is an overlap.
func (d draft) apart(lane int, b booking) func(scenarios.Ref) time.Duration {
	least := map[scenarios.Ref]time.Duration{}
	for i, all := range d.lanes {
		if i == lane-1 {
			continue
		}
		first := sort.Search(len(all), func(k int) bool { return all[k].to+farApart >= b.from })
		for _, other := range all[first:] {
			if other.from > b.to+farApart {
				break
			}
			between := max(other.from-b.to, b.from-other.to, 0)
			for _, ref := range other.targets {
				if known, ok := least[ref]; !ok || between < known {
					least[ref] = between
				}
			}
		}
	}
	return func(ref scenarios.Ref) time.Duration {
		if between, ok := least[ref]; ok {
			return between
		}
		return farApart
	}
}

// weighted draws the index of one fault, each as often as its weight says, among those that find enough targets that no
// other lane has then; among all where none does.
func (d draft) weighted(lane int, gap time.Duration, r *rand.Rand) int {
	var open []int // indices
	for i := range d.n.Fault {
		if d.finds(i, lane, gap) {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		for i := range d.n.Fault {
			open = append(open, i)
		}
	}
	sum := 0
	for _, i := range open {
		sum += d.n.Fault[i].Weight
	}
	left := r.IntN(sum)
	for left >= d.n.Fault[open[0]].Weight {
		left -= d.n.Fault[open[0]].Weight
		open = open[1:]
	}
	return open[0]
}

// finds reports whether a fault has enough targets that no other lane has at the same time.
func (d draft) finds(i, lane int, gap time.Duration) bool {
	f := d.n.Fault[i].Fault()
	if f.Asks() {
		return true
	}
	apart := d.apart(lane, d.expect(lane, gap, f))
	free := slices.DeleteFunc(slices.Clone(d.from[i]), func(ref scenarios.Ref) bool { return apart(ref) == 0 })
	return len(free) >= share(f.Pick, len(d.from[i]))
}
