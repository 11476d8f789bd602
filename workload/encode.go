package workload

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/discompose/discompose/ledger"
)

// AppendOps appends ops as a JSON array, as encoding/json writes it, to dst. It is written by hand because a client
// encodes every operation of a run on the cores that the system under test runs on.
func AppendOps(dst []byte, ops []ledger.Op) []byte {
	dst = append(dst, '[')
	for i := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendOp(dst, &ops[i])
	}
	return append(dst, ']')
}

func appendOp(dst []byte, o *ledger.Op) []byte {
	dst = append(dst, '{')
	if o.ID != 0 {
		dst = append(strconv.AppendInt(append(dst, `"id":`...), o.ID, 10), ',')
	}
	dst = appendText(append(dst, `"w":`...), o.Workload)
	dst = strconv.AppendInt(append(dst, `,"p":`...), int64(o.Process), 10)
	dst = appendText(append(dst, `,"f":`...), o.Func)
	if o.Key != "" {
		dst = appendText(append(dst, `,"k":`...), o.Key)
	}
	if o.Value != 0 {
		dst = strconv.AppendInt(append(dst, `,"x":`...), o.Value, 10)
	}
	if o.Sum != 0 {
		dst = strconv.AppendUint(append(dst, `,"s":`...), uint64(o.Sum), 10)
	}
	if o.Data != "" {
		dst = appendText(append(dst, `,"d":`...), o.Data)
	}
	dst = strconv.AppendInt(append(dst, `,"pt":`...), int64(o.Partition), 10)
	dst = strconv.AppendInt(append(dst, `,"o":`...), o.Offset, 10)
	dst = strconv.AppendInt(append(dst, `,"t0":`...), o.Planned, 10)
	dst = strconv.AppendInt(append(dst, `,"t1":`...), o.Invoke, 10)
	dst = strconv.AppendInt(append(dst, `,"t2":`...), o.Complete, 10)
	dst = appendText(append(dst, `,"r":`...), string(o.Outcome))
	if o.Error != "" {
		dst = appendText(append(dst, `,"e":`...), o.Error)
	}
	return append(dst, '}')
}

// appendText appends s as a JSON string; only what needs more than a backslash takes the slow way.
func appendText(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(append(dst, s[from:i]...), '\\')
			from = i
		case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
			slow, err := json.Marshal(s)
			if err != nil {
				panic(fmt.Sprintf("encode a string: %v", err)) // encoding/json replaces what is not UTF-8
			}
			return append(dst[:start], slow...)
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// cutError is err's text as an operation keeps it: at most 200 bytes.
func cutError(err error) string {
	const most = 200
	s := err.Error()
	if len(s) > most {
		s = s[:most-3] + "..."
	}
	return s
}
