package embedded_test

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/discompose/discompose/workload/embedded"
)

// windows reads seq_windows.json, sorted by producer and partition.
func windows(t *testing.T, dir string) []map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "seq_windows.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Windows []map[string]any `json:"windows"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(file.Windows, func(a, b map[string]any) int {
		key := func(m map[string]any) string { s, _ := json.Marshal([]any{m["pid"], m["partition"]}); return string(s) }
		return strings.Compare(key(a), key(b))
	})
	for _, w := range file.Windows {
		delete(w, "seq") // of an older format; always zero
		delete(w, "offsets")
	}
	return file.Windows
}

func write(t *testing.T, path string, parts ...[]byte) {
	t.Helper()
	if err := os.WriteFile(path, slices.Concat(parts...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rebuild(t *testing.T, dir string) {
	t.Helper()
	if err := embedded.RestoreProducers(dir); err != nil {
		t.Fatal(err)
	}
}

// produceUnevenly lets two producers, one after the other, write to two partitions: more batches to the first than a
// window has places.
func produceUnevenly(t *testing.T, addr string) {
	t.Helper()
	for range 2 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("a-b c"),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 7 {
			for p := range int32(2) {
				if i >= 3 && p == 1 {
					continue
				}
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("x"), Partition: p}, &kgo.Record{Value: []byte("y"), Partition: p}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cl.Close()
	}
}

// TestRestoreProducers compares what is rebuilt from the log of a broker that was not closed with what the broker itself
// writes when it is.
func TestRestoreProducers(t *testing.T) {
	t.Parallel()
	addr, dir, copied := free(t), t.TempDir(), filepath.Join(t.TempDir(), "copy")
	stop := serve(t, embedded.KafkaOptions{Listeners: "PLAINTEXT://" + addr, Advertised: "PLAINTEXT://" + addr, Dir: dir, Partitions: 2, AutoCreate: true}, addr)
	produceUnevenly(t, addr)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	stop()
	segment := filepath.Join(copied, "partitions", "a-b%20c-0", "0.dat")
	log, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	first := log[:12+binary.BigEndian.Uint32(log[8:])]
	corrupt := slices.Clone(first)
	corrupt[len(corrupt)-1] ^= 1
	write(t, segment, log, corrupt, first) // what follows a corrupt batch is not in the log
	rebuild(t, copied)
	want := windows(t, dir)
	if len(want) != 4 {
		t.Fatalf("the broker wrote %d windows, want 4", len(want))
	}
	if diff := cmp.Diff(want, windows(t, copied)); diff != "" {
		t.Errorf("(-broker +rebuilt):\n%s", diff)
	}

	write(t, segment, log, first[:len(first)-1])
	rebuild(t, copied)
	if diff := cmp.Diff(want, windows(t, copied)); diff != "" {
		t.Errorf("with a torn tail (-broker +rebuilt):\n%s", diff)
	}

	raised := slices.Clone(first)
	binary.BigEndian.PutUint16(raised[51:], 1)
	binary.BigEndian.PutUint32(raised[17:], crc32.Checksum(raised[21:], crc32.MakeTable(crc32.Castagnoli)))
	write(t, segment, first, log[len(first):], raised)
	rebuild(t, copied)
	for _, w := range windows(t, copied) {
		if w["pid"] == float64(binary.BigEndian.Uint64(raised[43:])) && w["partition"] == 0.0 && (w["epoch"] != 1.0 || w["count"] != 1.0 || w["at"] != 1.0) {
			t.Errorf("after a new epoch: %v", w)
		}
	}
	if err := embedded.RestoreProducers(filepath.Join(copied, "none")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
}
