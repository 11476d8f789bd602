package workload

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// MinBody is the least length of a body in bytes.
const MinBody = 32

// The body of a value, length n:
//
//	0        8                     n-4      n
//	| value  | from seed and value | CRC-32C |
//
// The value stands in front so that a reader learns what it reads. The middle is derived, so that it can be compared
// without being stored. The checksum covers all before it, so that a reader without the seed can check it too.
const (
	bodyHead = 8
	bodyTail = 4
)

// Value numbers a write of a process: unique in a run for seq from 1 below 2^32.
func Value(process int, seq int64) int64 { return int64(process)<<32 | seq }

// AppendBody appends the body of value, size bytes long (at least MinBody), to dst.
func AppendBody(dst []byte, seed, value int64, size int) []byte {
	size = max(size, MinBody)
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(value)) //nolint:gosec // bit for bit; bodyValue reads it back
	random := rand.NewPCG(uint64(seed), uint64(value))      //nolint:gosec // any bits are a seed
	for end := start + size - bodyTail; len(dst) < end; {
		if end-len(dst) >= 8 {
			dst = binary.LittleEndian.AppendUint64(dst, random.Uint64())
			continue
		}
		dst = append(dst, byte(random.Uint64()))
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

// CheckBody tells which value a body carries, and 0 if the body is exactly what seed, value and size derive, else the
// CRC-32C of body (1 where that is 0). The value of a body shorter than 8 bytes is 0.
func CheckBody(body []byte, seed int64, size int) (value int64, sum uint32) {
	value = bodyValue(body)
	var room [512]byte
	if bytes.Equal(body, AppendBody(room[:0], seed, value, size)) {
		return value, 0
	}
	return value, wrongSum(body)
}

// CheckBodyAlone is CheckBody for a reader that knows neither seed nor size: it trusts the checksum in the body.
func CheckBodyAlone(body []byte) (value int64, sum uint32) {
	value = bodyValue(body)
	if n := len(body) - bodyTail; n >= MinBody-bodyTail &&
		crc32.Checksum(body[:n], castagnoli()) == binary.BigEndian.Uint32(body[n:]) {
		return value, 0
	}
	return value, wrongSum(body)
}

func bodyValue(body []byte) int64 {
	if len(body) < bodyHead {
		return 0
	}
	return int64(binary.BigEndian.Uint64(body)) //nolint:gosec // bit for bit, as AppendBody wrote it
}

func wrongSum(body []byte) uint32 { return max(crc32.Checksum(body, castagnoli()), 1) }

// castagnoli returns the CRC-32C table; the standard library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// choice draws one of n from seed and value, apart from the body's own stream.
func choice(seed, value int64, n int) int {
	const stream = 0x9e3779b97f4a7c15
	return int(rand.NewPCG(uint64(seed)^stream, uint64(value)).Uint64() % uint64(n)) //nolint:gosec // any bits are a seed; the rest is below n
}
