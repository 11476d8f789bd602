package workload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// KeyOptions are the keys that operations of a driver are about, for its options table. A zero field means its default.
type KeyOptions struct {
	Count        int     `toml:"count" json:"count,omitempty" default:"10" doc:"how many keys there are"`
	Distribution string  `toml:"distribution" json:"distribution,omitempty" default:"uniform" enum:"uniform|zipf|hot" phase:"yes" doc:"uniform: each key as often as any other; zipf: key n, from 1, in proportion to 1/n^skew; hot: some keys get most operations, and which these are changes"`
	Skew         float64 `toml:"skew" json:"skew,omitempty" default:"1" phase:"yes" doc:"zipf: the exponent"`
	Hot          int     `toml:"hot" json:"hot,omitempty" default:"1" phase:"yes" doc:"hot: how many keys are hot at a time"`
	Share        float64 `toml:"share" json:"share,omitempty" default:"0.9" phase:"yes" doc:"hot: the share of operations that go to them"`
	Rotate       int     `toml:"rotate" json:"rotate,omitempty" default:"1000" phase:"yes" doc:"hot: after how many operations the next keys become hot"`
}

// WithDefaults is o with every zero field set to its default.
func (o KeyOptions) WithDefaults() KeyOptions {
	if o.Count == 0 {
		o.Count = 10
	}
	if o.Distribution == "" {
		o.Distribution = "uniform"
	}
	if o.Skew == 0 {
		o.Skew = 1
	}
	if o.Hot == 0 {
		o.Hot = 1
	}
	if o.Share == 0 {
		o.Share = 0.9
	}
	if o.Rotate == 0 {
		o.Rotate = 1000
	}
	return o
}

// Validate joins every problem of o, defaults applied.
func (o KeyOptions) Validate() error {
	o = o.WithDefaults()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Count < 1 || o.Count > 1_000_000 {
		report("count = %d is not between 1 and 1000000", o.Count)
	}
	switch o.Distribution {
	case "uniform", "zipf":
	case "hot":
		if o.Hot < 1 || o.Hot > o.Count {
			report("hot = %d is not between 1 and count = %d", o.Hot, o.Count)
		}
	default:
		report("distribution = %q is not one of \"uniform\", \"zipf\", \"hot\"", o.Distribution)
	}
	if o.Skew < 0 || o.Skew > 10 || math.IsNaN(o.Skew) {
		report("skew = %g is not between 0 and 10", o.Skew)
	}
	if o.Share < 0 || o.Share > 1 || math.IsNaN(o.Share) {
		report("share = %g is not between 0 and 1", o.Share)
	}
	if o.Rotate < 1 {
		report("rotate = %d is less than 1", o.Rotate)
	}
	return errors.Join(errs...)
}

// Keys makes the distribution that o, which is valid, describes.
func (o KeyOptions) Keys() Keys {
	o = o.WithDefaults()
	switch o.Distribution {
	case "zipf":
		return Zipf(o.Count, o.Skew)
	case "hot":
		return Hot{Count: o.Count, Hot: o.Hot, Share: o.Share, Rotate: o.Rotate}
	}
	return Uniform(o.Count)
}

// Keys picks the key of operation k: a number from 0 below how many there are. It is pure: equal k and equal states of r
// give the same key.
type Keys interface {
	Pick(r *rand.Rand, k int64) int
}

// Uniform is so many keys, each as likely as any other.
type Uniform int

// Pick implements Keys.
func (n Uniform) Pick(r *rand.Rand, _ int64) int { return r.IntN(int(n)) }

// Zipf is count keys of which key i, from 0, is picked in proportion to 1 / (i+1)^skew. A skew of 0 is Uniform.
func Zipf(count int, skew float64) Keys {
	z := make(zipf, count)
	sum := 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -skew)
		z[i] = sum
	}
	return z
}

// zipf holds, for each key, the weight of all up to it.
type zipf []float64

func (z zipf) Pick(r *rand.Rand, _ int64) int {
	at := r.Float64() * z[len(z)-1]
	return min(sort.Search(len(z), func(i int) bool { return z[i] > at }), len(z)-1)
}

// Hot is Count keys of which Hot get the share Share of operations; after Rotate operations the next Hot keys do, around
// and around. The others share the rest. Hot is at most Count.
type Hot struct {
	Count, Hot int
	Share      float64 // in [0, 1]
	Rotate     int     // operations, at least 1
}

// Pick implements Keys.
func (h Hot) Pick(r *rand.Rand, k int64) int {
	first := int(k / int64(h.Rotate) % int64(h.Count) * int64(h.Hot) % int64(h.Count))
	if h.Hot == h.Count || r.Float64() < h.Share {
		return (first + r.IntN(h.Hot)) % h.Count
	}
	return (first + h.Hot + r.IntN(h.Count-h.Hot)) % h.Count
}

// Weight is how often something is picked, relative to the others of a list.
type Weight struct {
	Name   string
	Weight int // negative counts as 0
}

// PickWeighted picks a name; "" if no weight is positive. It is pure: equal states of r pick the same.
func PickWeighted(r *rand.Rand, list []Weight) string {
	sum := 0
	for _, w := range list {
		sum += max(w.Weight, 0)
	}
	if sum == 0 {
		return ""
	}
	at := r.IntN(sum)
	for _, w := range list {
		if at -= max(w.Weight, 0); at < 0 {
			return w.Name
		}
	}
	return ""
}
