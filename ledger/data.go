package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// CAS is the Data of FuncCAS.
type CAS struct {
	From     int64 `json:"from"` // 0: absent
	Mismatch bool  `json:"mismatch,omitempty"`
}

// Object is the Data of operations on objects.
type Object struct {
	Size   *int64    `json:"size,omitempty"`   // bytes of the whole object; nil where it is not known
	Range  *[2]int64 `json:"range,omitempty"`  // bytes asked for, the first included, the last not
	Exists *bool     `json:"exists,omitempty"` // for head, where nothing tells the generation
}

// Transfer is the Data of FuncTransfer. Amount is above 0.
type Transfer struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Amount int64  `json:"amount"`
}

// Txn is the Data of operations that belong to a transaction of a log.
type Txn struct {
	ID string `json:"txn"` // unique in the run
}

// Mop is one step of a transaction over lists, in JSON ["append", key, value] or ["r", key, [values]]; a key may also be a
// JSON number.
type Mop struct {
	Append bool
	Key    string
	Value  int64   // appended
	Values []int64 // what a read found, oldest first; nil where nobody knows, empty where the list was
}

// The names of the steps.
const (
	mopAppend = "append"
	mopRead   = "r"
)

// MarshalJSON writes the array.
func (m Mop) MarshalJSON() ([]byte, error) {
	key := appendText(nil, m.Key)
	if m.Append {
		return fmt.Appendf(nil, `["%s",%s,%d]`, mopAppend, key, m.Value), nil
	}
	out := fmt.Appendf(nil, `["%s",%s,`, mopRead, key)
	if m.Values == nil {
		return append(out, "null]"...), nil
	}
	return append(AppendValues(out, m.Values), ']'), nil
}

// UnmarshalJSON reads the array, strictly.
func (m *Mop) UnmarshalJSON(raw []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return fmt.Errorf("decode step: %w", err)
	}
	if len(parts) != 3 {
		return fmt.Errorf("decode step %s: it has %d parts, not 3", raw, len(parts))
	}
	*m = Mop{}
	var name string
	err := errors.Join(json.Unmarshal(parts[0], &name), m.key(parts[1]))
	switch name {
	case mopAppend:
		m.Append = true
		err = errors.Join(err, json.Unmarshal(parts[2], &m.Value))
	case mopRead:
		err = errors.Join(err, json.Unmarshal(parts[2], &m.Values))
	default:
		err = errors.Join(err, fmt.Errorf("it is neither %q nor %q", mopAppend, mopRead))
	}
	if err != nil {
		return fmt.Errorf("decode step %s: %w", raw, err)
	}
	return nil
}

// key takes a text, or a number as its text.
func (m *Mop) key(raw json.RawMessage) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &m.Key)
	}
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	m.Key = n.String()
	return nil
}

// EncodeData writes one of the types above (or a map of balances, a list of keys or of steps) as the Data of an operation.
// It panics on what JSON cannot say, which none of them contains.
func EncodeData(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode data %T: %v", v, err))
	}
	return string(out)
}

// DecodeData reads the Data of an operation into v. Empty Data is an error.
func DecodeData(o *Op, v any) error {
	if err := json.Unmarshal([]byte(o.Data), v); err != nil {
		return fmt.Errorf("decode data of operation %d (%s): %w", o.ID, o.Func, err)
	}
	return nil
}

// AppendValues appends values as a JSON array, for the Data of FuncList.
func AppendValues(dst []byte, values []int64) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, v, 10)
	}
	return append(dst, ']')
}

// ParseValues appends the values of a JSON array of integers to dst.
func ParseValues(dst []int64, data string) ([]int64, error) {
	n := len(dst)
	s := scanner{rest: []byte(data)}
	if s.skip("[") && !s.skip("]") {
		for more := true; more && !s.bad; {
			dst = append(dst, s.integer())
			if more = s.skip(","); !more {
				s.must("]")
			}
		}
		if !s.bad && len(s.rest) == 0 {
			return dst, nil
		}
	} else if data == "[]" {
		return dst, nil
	}
	// Spaces, or numbers of 19 digits: rare, and encoding/json knows them.
	var values []int64
	if err := json.Unmarshal([]byte(data), &values); err != nil {
		return dst[:n], fmt.Errorf("decode values: %w", err)
	}
	return append(dst[:n], values...), nil
}
