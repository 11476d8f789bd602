package embedded

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// restoreProducers writes the sequence windows of idempotent producers, as they follow from the log, where kfake reads
// them at its start. kfake writes them at an orderly end only: after SIGKILL, a batch that was appended but not yet
// acknowledged would be appended again when its producer retries. Apache Kafka rebuilds them from the log too.
//
// Source: kfake's persist.go (partDir, loadSeqWindows) and txns.go (pushAndValidate), 2026-09-18. A directory that is not
// there yet is left alone.
func restoreProducers(dir string) error {
	parts, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	out := sequenceFile{Version: 1, Windows: []*sequenceWindow{}}
	for _, p := range parts {
		cut := strings.LastIndexByte(p.Name(), '-')
		if !p.IsDir() || cut < 0 {
			continue
		}
		topic, err := url.PathUnescape(p.Name()[:cut])
		if err != nil {
			continue // not one of kfake's
		}
		number, err := strconv.ParseInt(p.Name()[cut+1:], 10, 32)
		if err != nil {
			continue
		}
		windows, err := replay(filepath.Join(dir, "partitions", p.Name()), topic, int32(number))
		if err != nil {
			return fmt.Errorf("read log of %s: %w", p.Name(), err)
		}
		out.Windows = append(out.Windows, windows...)
	}
	return writeJSON(filepath.Join(dir, "seq_windows.json"), out)
}

// sequenceFile is kfake's seq_windows.json.
type sequenceFile struct {
	Version int               `json:"version"`
	Windows []*sequenceWindow `json:"windows"`
}

// sequenceWindow is what a broker knows of one producer in one partition: its last five batches, in a ring.
type sequenceWindow struct {
	Producer  int64            `json:"pid"`
	Topic     string           `json:"topic"`
	Partition int32            `json:"partition"`
	Entries   [5]sequenceEntry `json:"entries"`
	Count     uint8            `json:"count"`
	At        uint8            `json:"at"` // the ring's next place
	Epoch     int16            `json:"epoch"`
	Seen      bool             `json:"seen"`
	Next      int32            `json:"next_seq"`
}

type sequenceEntry struct {
	First  int32 `json:"first_seq"`
	Next   int32 `json:"next_seq"`
	Offset int64 `json:"offset"`
}

// add takes the next batch of the log.
func (w *sequenceWindow) add(b batchHeader) {
	if !w.Seen || b.epoch != w.Epoch {
		w.Entries, w.Count, w.At = [5]sequenceEntry{}, 0, 0
		w.Seen, w.Epoch = true, b.epoch
	}
	w.Next = int32((int64(b.sequence) + int64(b.records)) % math.MaxInt32) //nolint:gosec // kfake's own arithmetic; the remainder fits
	w.Entries[w.At] = sequenceEntry{First: b.sequence, Next: w.Next, Offset: b.offset}
	w.At = (w.At + 1) % uint8(len(w.Entries))
	w.Count = min(w.Count+1, uint8(len(w.Entries)))
}

// replay reads the segments of one partition in order and returns its windows, in the order of the producers' first batch.
func replay(dir, topic string, partition int32) ([]*sequenceWindow, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".dat")
		if base, err := strconv.ParseInt(name, 10, 64); ok && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	var out []*sequenceWindow
	byProducer := map[int64]*sequenceWindow{}
	for _, base := range bases {
		err := eachBatch(filepath.Join(dir, strconv.FormatInt(base, 10)+".dat"), func(b batchHeader) {
			const control = 0x20
			if b.producer < 0 || b.attributes&control != 0 {
				return
			}
			w := byProducer[b.producer]
			if w == nil {
				w = &sequenceWindow{Producer: b.producer, Topic: topic, Partition: partition}
				byProducer[b.producer], out = w, append(out, w)
			}
			w.add(b)
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// batchHeader is the part of a record batch (Kafka's format, magic 2) that a producer's sequence shows in.
type batchHeader struct {
	offset     int64
	attributes uint16
	producer   int64
	epoch      int16
	sequence   int32
	records    int32
}

// eachBatch calls f for every whole batch of a segment. A torn or corrupt one ends it: kfake cuts the log there.
func eachBatch(path string, f func(batchHeader)) error {
	const (
		prefix = 12 // base offset and length
		header = 61
		sumAt  = 17
		summed = 21
		most   = 1 << 30
	)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it is only read
	r := bufio.NewReaderSize(file, 1<<16)
	table := crc32.MakeTable(crc32.Castagnoli)
	batch := make([]byte, header)
	for {
		if _, err := io.ReadFull(r, batch[:prefix]); err != nil {
			return ended(err)
		}
		length := int(binary.BigEndian.Uint32(batch[8:]))
		if length < header-prefix || length > most {
			return nil
		}
		batch = slices.Grow(batch[:prefix], length)[:prefix+length]
		if _, err := io.ReadFull(r, batch[prefix:]); err != nil {
			return ended(err)
		}
		if crc32.Checksum(batch[summed:], table) != binary.BigEndian.Uint32(batch[sumAt:]) {
			return nil
		}
		//nolint:gosec // the format has these types
		f(batchHeader{
			offset:     int64(binary.BigEndian.Uint64(batch)),
			attributes: binary.BigEndian.Uint16(batch[21:]),
			producer:   int64(binary.BigEndian.Uint64(batch[43:])),
			epoch:      int16(binary.BigEndian.Uint16(batch[51:])),
			sequence:   int32(binary.BigEndian.Uint32(batch[53:])),
			records:    int32(binary.BigEndian.Uint32(batch[57:])),
		})
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// writeJSON replaces the file at path, durably.
func writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
