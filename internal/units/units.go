// Package units provides the typed quantities that scenario files and reports are written in: durations, sizes and rates.
//
// Every type is a plain number in Go and a quoted text with a unit in TOML and JSON. Values are safe to copy and to
// use from any goroutine. The package imports nothing of this module.
package units

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as in Go: "8s", "250ms", "1m30s". The zero value is no time.
type Duration time.Duration

// UnmarshalText reads a duration with its unit; a negative one is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration (write a number and a unit, as in \"8s\" or \"250ms\")", text)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the shortest text that UnmarshalText reads back to the same value.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std is d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes d without zero parts: "1m", not "1m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes, written with a binary ("512MiB") or decimal ("10MB") unit. The zero value is no byte.
type Size int64

//nolint:gochecknoglobals // a constant list
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"B", 1},
}

// UnmarshalText reads a size with its unit; a negative one is an error.
func (s *Size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(in, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || v*float64(u.bytes) > 1<<62 {
			break
		}
		*s = Size(v * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("%q is not a size (write a number and a unit, as in \"512MiB\" or \"10MB\")", text)
}

// MarshalText writes the size in the largest binary unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the size in the largest binary unit that divides it, else in bytes.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if int64(s) >= u.bytes && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Bytes is s as a plain number of bytes.
func (s Size) Bytes() int64 { return int64(s) }

// Rate is a number of bits per second, written as tc does: "1mbit", "512kbit", "1gbit". The zero value is none.
type Rate int64

//nolint:gochecknoglobals // a constant list
var rateUnits = []struct {
	name string
	bits int64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// UnmarshalText reads a rate with its unit; a negative one is an error.
func (r *Rate) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(in, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || v*float64(u.bits) > 1<<62 {
			break
		}
		*r = Rate(v * float64(u.bits))
		return nil
	}
	return fmt.Errorf("%q is not a rate (write a number and a unit, as in \"1mbit\" or \"512kbit\")", text)
}

// MarshalText writes the rate in the largest unit that divides it.
func (r Rate) MarshalText() ([]byte, error) {
	for _, u := range rateUnits {
		if int64(r) >= u.bits && int64(r)%u.bits == 0 {
			return []byte(strconv.FormatInt(int64(r)/u.bits, 10) + u.name), nil
		}
	}
	return []byte(strconv.FormatInt(int64(r), 10) + "bit"), nil
}
