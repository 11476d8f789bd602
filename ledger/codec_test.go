package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/discompose/discompose/ledger"
)

// anyOp draws operations with all the texts and numbers that JSON can carry.
func anyOp(t *rapid.T) ledger.Op {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "orders", "a\"b\\c", `{"from":1}`, `\\"`, "\\", "\x00\x1f\x7f", "<&>", "\xff\xfe bad", "\u2028é\ufffd"}))
	number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, 1, 999999999999999999, 1000000000000000000, math.MaxInt64, math.MinInt64}))
	return ledger.Op{
		ID: number.Draw(t, "id"), Workload: text.Draw(t, "workload"), Process: rapid.Int().Draw(t, "process"), Func: text.Draw(t, "func"),
		Key: text.Draw(t, "key"), Value: number.Draw(t, "value"), Sum: rapid.Uint32().Draw(t, "sum"), Data: text.Draw(t, "data"),
		Partition: rapid.Int32().Draw(t, "partition"), Offset: number.Draw(t, "offset"), Planned: number.Draw(t, "planned"),
		Invoke: number.Draw(t, "invoke"), Complete: number.Draw(t, "complete"), Outcome: ledger.Outcome(text.Draw(t, "outcome")), Error: text.Draw(t, "error"),
	}
}

func TestEncodeOpsWritesWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(anyOp), 0, 5).Draw(t, "ops")
		var line bytes.Buffer
		if err := ledger.EncodeOps(&line, ops); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(line.Bytes(), []byte("\n")); n != 1 || line.Bytes()[line.Len()-1] != '\n' {
			t.Fatalf("%d line ends in %q", n, line.Bytes())
		}
		reference, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []ledger.Op
		if err := errors.Join(json.Unmarshal(reference, &want), json.Unmarshal(line.Bytes(), &got)); err != nil {
			t.Fatalf("%v in %q", err, line.Bytes())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("encoding/json reads another batch (-reference +ours):\n%s", diff)
		}
		decoded, err := ledger.DecodeOps(line.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, decoded); diff != "" {
			t.Fatalf("DecodeOps reads another batch (-reference +ours):\n%s", diff)
		}
	})
}

func FuzzDecodeOps(f *testing.F) {
	plain := ledger.Op{ID: 7, Workload: "orders", Func: ledger.FuncProduce, Key: "k", Value: 3<<32 | 9, Sum: 1, Data: `{"txn":"a\\b"}`, Offset: -1, Partition: -1, Invoke: 5, Complete: 6, Outcome: ledger.Unknown, Error: "timed out"}
	line := ledger.AppendOps(nil, []ledger.Op{plain, {Workload: "orders"}, plain})
	f.Add(line)
	f.Add(line[:len(line)-3])
	f.Add(bytes.ReplaceAll(line, []byte(`"t0":0`), []byte(`"t0":00`)))
	f.Add(bytes.ReplaceAll(line, []byte(`"s":1`), []byte(`"s":4294967296`)))
	f.Add(bytes.ReplaceAll(line, []byte(`"pt":-1`), []byte(`"pt":-2147483649`)))
	f.Add(bytes.ReplaceAll(line, []byte(`orders`), []byte("\xff\u00e9\\u0041")))
	f.Add(bytes.ReplaceAll(line, []byte(`"t1":5`), []byte(`"t1":9999999999999999999`)))
	f.Add(bytes.ReplaceAll(line, []byte(`\"}`), []byte(`\n}`)))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"o":-0,"w":"x"}, {}]`))
	f.Add([]byte("\v[]"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if trimmed := bytes.TrimLeft(line, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
			t.Skip("a single operation has rules of its own")
		}
		var want []ledger.Op
		reference := json.Unmarshal(line, &want)
		got, err := ledger.DecodeOps(line)
		if (reference == nil) != (err == nil) {
			t.Fatalf("encoding/json says %v, DecodeOps says %v for %q", reference, err, line)
		}
		if err == nil && !cmp.Equal(want, got) {
			t.Fatalf("for %q (-encoding/json +DecodeOps):\n%s", line, cmp.Diff(want, got))
		}
	})
}

func TestDecodeOpsReadsSingleOperationsOfOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string
		want       []ledger.Op
		wrong      string
	}{
		{"an operation without partition and offset has none", `{"v":1,"w":"orders","f":"produce","x":5,"t1":7,"r":"ok"}`, []ledger.Op{{Workload: "orders", Func: "produce", Value: 5, Invoke: 7, Outcome: ledger.OK, Partition: -1, Offset: -1}}, ""},
		{"an operation with data of its model", `{"v":2,"w":"accounts","f":"cas","k":"a","x":5,"d":"{\"from\":3}","r":"fail"}`, []ledger.Op{{Workload: "accounts", Func: "cas", Key: "a", Value: 5, Data: `{"from":3}`, Outcome: ledger.Failed, Partition: -1, Offset: -1}}, ""},
		{"a newer version is refused by name", `{"v":3,"w":"orders"}`, nil, "operation line has format 3, this build reads up to 2"},
		{"a missing version is refused", `{"w":"orders"}`, nil, `write "v":2`},
		{"text is refused", `hello`, nil, "decode operations"},
		{"an empty line is refused", ``, nil, "decode operations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ledger.DecodeOps([]byte(tt.line))
			switch {
			case tt.wrong == "" && err != nil:
				t.Fatal(err)
			case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
				t.Fatalf("error %v, want one with %q", err, tt.wrong)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func BenchmarkEncodeOps(b *testing.B) {
	ops := someOps(1000, 0)
	line := ledger.AppendOps(nil, ops)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		line = ledger.AppendOps(line[:0], ops)
	}
	b.ReportMetric(float64(b.N*len(ops))/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkDecodeOps(b *testing.B) {
	ops := someOps(1000, 0)
	line := ledger.AppendOps(nil, ops)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if got, err := ledger.DecodeOps(line); err != nil || len(got) != len(ops) {
			b.Fatal(err, len(got))
		}
	}
	b.ReportMetric(float64(b.N*len(ops))/b.Elapsed().Seconds(), "ops/s")
}
