package workload_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/ledger"
	"github.com/discompose/discompose/workload"
)

// draws counts what n draws give, one turn each, as a loop makes them.
func draws(n int, pick func(r *rand.Rand, k int64) int) map[int]int {
	out := map[int]int{}
	for k := range int64(n) {
		out[pick(rand.New(rand.NewPCG(7, uint64(k))), k)]++
	}
	return out
}

// near fails the test if a count is more than five standard deviations from what a share makes likely.
func near(t *testing.T, what string, got, n int, share float64) {
	t.Helper()
	want := float64(n) * share
	if far := 5 * math.Sqrt(float64(n)*share*(1-share)); math.Abs(float64(got)-want) > far {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, got, n, want, far)
	}
}

func TestUniformKeys(t *testing.T) {
	t.Parallel()
	const n = 100_000
	got := draws(n, workload.Uniform(8).Pick)
	for key := range 8 {
		near(t, fmt.Sprint("key ", key), got[key], n, 1.0/8)
	}
	if len(got) != 8 {
		t.Errorf("%d keys", len(got))
	}
}

func TestZipfKeys(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, skew := range []float64{0, 0.5, 1, 2} {
		sum := 0.0
		for i := range 20 {
			sum += math.Pow(float64(i+1), -skew)
		}
		got := draws(n, workload.Zipf(20, skew).Pick)
		for key := range 20 {
			near(t, fmt.Sprintf("skew %g, key %d", skew, key), got[key], n, math.Pow(float64(key+1), -skew)/sum)
		}
		if len(got) > 20 {
			t.Errorf("%d keys", len(got))
		}
	}
}

func TestHotKeys(t *testing.T) {
	t.Parallel()
	h := workload.Hot{Count: 10, Hot: 2, Share: 0.9, Rotate: 1000}
	const n = 1000
	for turn := range 12 {
		got := map[int]int{}
		for i := range n {
			k := int64(turn*n + i)
			got[h.Pick(rand.New(rand.NewPCG(7, uint64(k))), k)]++
		}
		for key := range 10 {
			share := 0.1 / 8
			if key == 2*turn%10 || key == 2*turn%10+1 {
				share = 0.9 / 2
			}
			near(t, fmt.Sprintf("turn %d, key %d", turn, key), got[key], n, share)
		}
		if len(got) > 10 {
			t.Errorf("%d keys", len(got))
		}
	}
	all := draws(n, workload.Hot{Count: 3, Hot: 3, Share: 0, Rotate: 1}.Pick)
	for key := range 3 {
		near(t, fmt.Sprint("all are hot, key ", key), all[key], n, 1.0/3)
	}
	odd := draws(30_000, workload.Hot{Count: 3, Hot: 2, Share: 1, Rotate: 1}.Pick)
	for key := range 3 {
		near(t, fmt.Sprint("two of three are hot, key ", key), odd[key], 30_000, 1.0/3)
	}
}

func TestPickWeighted(t *testing.T) {
	t.Parallel()
	list := []workload.Weight{{"read", 6}, {"never", 0}, {"write", 3}, {"less than never", -5}, {"cas", 1}}
	got := map[string]int{}
	const n = 100_000
	for k := range uint64(n) {
		got[workload.PickWeighted(rand.New(rand.NewPCG(7, k)), list)]++
	}
	near(t, "read", got["read"], n, 0.6)
	near(t, "write", got["write"], n, 0.3)
	near(t, "cas", got["cas"], n, 0.1)
	if len(got) != 3 {
		t.Errorf("picked %v", got)
	}
	if none := workload.PickWeighted(rand.New(rand.NewPCG(7, 7)), []workload.Weight{{"never", 0}}); none != "" {
		t.Errorf("nothing to pick gives %q", none)
	}
}

func TestKeyOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		give workload.KeyOptions
		want string // the error's lines, or the distribution
	}{
		{"all defaults", workload.KeyOptions{}, "workload.Uniform 10"},
		{"zipf", workload.KeyOptions{Distribution: "zipf", Count: 3}, "workload.zipf"},
		{"hot", workload.KeyOptions{Distribution: "hot", Count: 3, Hot: 2}, "workload.Hot {3 2 0.9 1000}"},
		{"more hot ones than there are", workload.KeyOptions{Distribution: "hot", Count: 3, Hot: 4}, "hot = 4 is not between 1 and count = 3"},
		{
			"every problem at once",
			workload.KeyOptions{Count: -1, Distribution: "pareto", Skew: -1, Share: 2, Rotate: -1},
			"count = -1 is not between 1 and 1000000\ndistribution = \"pareto\" is not one of \"uniform\", \"zipf\", \"hot\"\nskew = -1 is not between 0 and 10\nshare = 2 is not between 0 and 1\nrotate = -1 is less than 1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := text(c.give.Validate())
			if got == "" {
				got = fmt.Sprintf("%T %v", c.give.Keys(), c.give.Keys())
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	got := workload.Elements([]string{"4294967297", "0", "-1", "007", "+7", " 7", "", long, "9223372036854775808", "4294967297"})
	var want []ledger.Op
	for _, e := range []struct {
		value int64
		key   string
	}{{1<<32 + 1, ""}, {0, "0"}, {0, "-1"}, {0, "007"}, {0, "+7"}, {0, " 7"}, {0, ""}, {0, long[:100]}, {0, "9223372036854775808"}, {1<<32 + 1, ""}} {
		want = append(want, ledger.Op{Func: "read", Value: e.value, Key: e.key, Partition: -1, Offset: -1})
	}
	want = append(want, ledger.Op{Func: "end", Offset: 10, Partition: -1})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
