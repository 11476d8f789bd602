package ledger_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
)

func TestValuesComeBack(t *testing.T) {
	t.Parallel()
	number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, 3<<32 | 7, math.MaxInt64, math.MinInt64}))
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(number).Draw(t, "values")
		data := string(ledger.AppendValues(nil, values))
		got, err := ledger.ParseValues([]int64{5}, data)
		if err != nil || !cmp.Equal(append([]int64{5}, values...), got) {
			t.Fatalf("%v became %v in %s: %v", values, got, data, err)
		}
	})
	for _, tt := range []struct {
		data string
		want []int64
		ok   bool
	}{
		{" [1, 2 ]", []int64{9, 1, 2}, true},
		{"[]", []int64{9}, true},
		{"[1,]", []int64{9}, false},
		{"[1]x", []int64{9}, false},
		{"[1.5]", []int64{9}, false},
		{"", []int64{9}, false},
	} {
		got, err := ledger.ParseValues([]int64{9}, tt.data)
		if (err == nil) != tt.ok || !cmp.Equal(tt.want, got) {
			t.Errorf("%q: %v, %v", tt.data, got, err)
		}
	}
}

func TestStepsAreArrays(t *testing.T) {
	t.Parallel()
	steps := []ledger.Mop{{Append: true, Key: `x"\`, Value: 5}, {Key: "y", Values: []int64{1, 2}}, {Key: "z"}, {Key: "e", Values: []int64{}}}
	data := ledger.EncodeData(steps)
	if want := `[["append","x\"\\",5],["r","y",[1,2]],["r","z",null],["r","e",[]]]`; data != want {
		t.Fatalf("%s, want %s", data, want)
	}
	var got []ledger.Mop
	if err := ledger.DecodeData(&ledger.Op{Data: data}, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(steps, got); diff != "" {
		t.Fatal(diff)
	}
	var one ledger.Mop
	if err := json.Unmarshal([]byte(`["r",7,[]]`), &one); err != nil || one.Key != "7" {
		t.Errorf("a number as key: %+v, %v", one, err)
	}
	for _, bad := range []string{`["w","x",1]`, `["r","x"]`, `["append","x","1"]`, `["r",true,[]]`, `{}`, `["append","x",1,2]`} {
		if err := json.Unmarshal([]byte(bad), &one); err == nil {
			t.Errorf("%s is taken as %+v", bad, one)
		}
	}
}

func TestDecodeDataRefusesEmptyData(t *testing.T) {
	t.Parallel()
	var c ledger.CAS
	if err := ledger.DecodeData(&ledger.Op{ID: 4, Func: ledger.FuncCAS}, &c); err == nil {
		t.Error("no error")
	}
}

func TestTrafficLeavesFinalReadsOut(t *testing.T) {
	t.Parallel()
	run := ledger.Run{ClockErrorNs: 2, Phases: []ledger.Phase{{Name: ledger.PhaseDrain, From: 50}, {Name: ledger.PhaseFinal, From: 100}}}
	for _, tt := range []struct {
		fn   string
		at   int64
		want bool
	}{{ledger.FuncGet, 97, true}, {ledger.FuncGet, 98, false}, {ledger.FuncRead, 1, false}, {ledger.FuncEnd, 1, false}, {ledger.FuncProbe, 150, true}} {
		if got := run.Traffic()(&ledger.Op{Func: tt.fn, Invoke: tt.at}); got != tt.want {
			t.Errorf("%s at %d: %v", tt.fn, tt.at, got)
		}
		if got := (ledger.Run{}).Traffic()(&ledger.Op{Func: tt.fn, Invoke: tt.at}); got != (tt.want || tt.at == 98) {
			t.Errorf("%s at %d without a final phase: %v", tt.fn, tt.at, got)
		}
	}
}
