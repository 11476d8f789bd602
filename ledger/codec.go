package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// EncodeOps writes a batch of operations as one line: a JSON array and a newline. An empty batch is "[]".
func EncodeOps(w io.Writer, ops []Op) error {
	if _, err := w.Write(AppendOps(make([]byte, 0, 192*len(ops)+3), ops)); err != nil {
		return fmt.Errorf("write operations: %w", err)
	}
	return nil
}

// AppendOps appends the line that EncodeOps writes to dst. encoding/json reads it back to the same operations as its
// own encoding.
func AppendOps(dst []byte, ops []Op) []byte {
	dst = append(dst, '[')
	for i := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendOp(dst, &ops[i])
	}
	return append(dst, ']', '\n')
}

// The keys as appendOp writes them, in its order; the fast decoder expects them so.
const (
	keyID        = `"id":`
	keyWorkload  = `"w":`
	keyProcess   = `"p":`
	keyFunc      = `"f":`
	keyKey       = `"k":`
	keyValue     = `"x":`
	keySum       = `"s":`
	keyData      = `"d":`
	keyPartition = `"pt":`
	keyOffset    = `"o":`
	keyPlanned   = `"t0":`
	keyInvoke    = `"t1":`
	keyComplete  = `"t2":`
	keyOutcome   = `"r":`
	keyError     = `"e":`
)

func appendOp(b []byte, o *Op) []byte {
	b = append(b, '{')
	if o.ID != 0 {
		b = strconv.AppendInt(append(b, keyID...), o.ID, 10)
		b = append(b, ',')
	}
	b = appendText(append(b, keyWorkload...), o.Workload)
	b = strconv.AppendInt(append(b, `,`+keyProcess...), int64(o.Process), 10)
	b = appendText(append(b, `,`+keyFunc...), o.Func)
	if o.Key != "" {
		b = appendText(append(b, `,`+keyKey...), o.Key)
	}
	if o.Value != 0 {
		b = strconv.AppendInt(append(b, `,`+keyValue...), o.Value, 10)
	}
	if o.Sum != 0 {
		b = strconv.AppendUint(append(b, `,`+keySum...), uint64(o.Sum), 10)
	}
	if o.Data != "" {
		b = appendText(append(b, `,`+keyData...), o.Data)
	}
	b = strconv.AppendInt(append(b, `,`+keyPartition...), int64(o.Partition), 10)
	b = strconv.AppendInt(append(b, `,`+keyOffset...), o.Offset, 10)
	b = strconv.AppendInt(append(b, `,`+keyPlanned...), o.Planned, 10)
	b = strconv.AppendInt(append(b, `,`+keyInvoke...), o.Invoke, 10)
	b = strconv.AppendInt(append(b, `,`+keyComplete...), o.Complete, 10)
	b = appendText(append(b, `,`+keyOutcome...), string(o.Outcome))
	if o.Error != "" {
		b = appendText(append(b, `,`+keyError...), o.Error)
	}
	return append(b, '}')
}

// appendText appends s as a JSON string; bytes that are no UTF-8 become U+FFFD, as in encoding/json.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // RuneError for a byte that is no UTF-8
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// DecodeOps reads one line of operations: a batch as EncodeOps writes it, or, from drivers in other languages, one JSON
// object with the version "v" beside the operation's keys. A newer version is a *VersionError. Nothing in the result
// refers to line.
func DecodeOps(line []byte) ([]Op, error) {
	line = bytes.Trim(line, " \t\r\n") // what JSON calls white space
	if len(line) > 0 && line[0] == '{' {
		return decodeSingle(line)
	}
	if ops, ok := decodeFast(line); ok {
		return ops, nil
	}
	var ops []Op
	if err := json.Unmarshal(line, &ops); err != nil {
		return nil, fmt.Errorf("decode operations: %w", err)
	}
	return ops, nil
}

func decodeSingle(line []byte) ([]Op, error) {
	single := struct {
		V *int `json:"v"`
		Op
	}{Op: Op{Partition: -1, Offset: -1}}
	if err := json.Unmarshal(line, &single); err != nil {
		return nil, fmt.Errorf("decode operation: %w", err)
	}
	switch {
	case single.V == nil:
		return nil, fmt.Errorf("decode operation: it has no version: write \"v\":%d", FormatVersion)
	case *single.V > FormatVersion:
		return nil, fmt.Errorf("decode operation: %w", &VersionError{What: "operation line", Version: *single.V, Known: FormatVersion})
	}
	return []Op{single.Op}, nil
}
