package ledger

import "bytes"

// decodeFast reads a batch exactly as AppendOps writes it, with plain ASCII texts, of which Data may have escaped quotes. It returns ok false for everything
// else, also for what is no JSON: encoding/json then decides.
func decodeFast(line []byte) (ops []Op, ok bool) {
	s := scanner{rest: line}
	if !s.skip("[") {
		return nil, false
	}
	ops = make([]Op, 0, bytes.Count(line, []byte("},{"))+1)
	if s.skip("]") {
		return ops, len(s.rest) == 0
	}
	var last Op // its texts are shared where they repeat
	for {
		var o Op
		if !s.op(&o, &last) {
			return nil, false
		}
		ops = append(ops, o)
		last = o
		switch {
		case s.skip(","):
		case s.skip("]"):
			return ops, len(s.rest) == 0
		default:
			return nil, false
		}
	}
}

// scanner reads JSON tokens off the front of rest. Once bad it stays bad, so that only the end needs to look.
type scanner struct {
	rest []byte
	bad  bool
}

func (s *scanner) op(o, last *Op) bool {
	s.must("{")
	if s.skip(keyID) {
		o.ID = s.integer()
		s.must(",")
	}
	s.must(keyWorkload)
	o.Workload = s.text(last.Workload)
	s.must("," + keyProcess)
	o.Process = int(s.integer())
	s.must("," + keyFunc)
	o.Func = s.text(last.Func)
	if s.skip("," + keyKey) {
		o.Key = s.text(last.Key)
	}
	if s.skip("," + keyValue) {
		o.Value = s.integer()
	}
	if s.skip("," + keySum) {
		o.Sum = uint32(s.within(0, 1<<32-1)) //nolint:gosec // bounded
	}
	if s.skip("," + keyData) {
		o.Data = s.quoted()
	}
	s.must("," + keyPartition)
	o.Partition = int32(s.within(-1<<31, 1<<31-1)) //nolint:gosec // bounded
	s.must("," + keyOffset)
	o.Offset = s.integer()
	s.must("," + keyPlanned)
	o.Planned = s.integer()
	s.must("," + keyInvoke)
	o.Invoke = s.integer()
	s.must("," + keyComplete)
	o.Complete = s.integer()
	s.must("," + keyOutcome)
	o.Outcome = Outcome(s.text(string(last.Outcome)))
	if s.skip("," + keyError) {
		o.Error = s.text(last.Error)
	}
	s.must("}")
	return !s.bad
}

func (s *scanner) skip(token string) bool {
	if s.bad || len(s.rest) < len(token) || string(s.rest[:len(token)]) != token {
		return false
	}
	s.rest = s.rest[len(token):]
	return true
}

func (s *scanner) must(token string) {
	if !s.skip(token) {
		s.bad = true
	}
}

// integer reads an integer of at most 18 digits, which cannot overflow.
func (s *scanner) integer() int64 {
	negative := s.skip("-")
	var v int64
	n := 0
	for n < len(s.rest) && n < 19 && '0' <= s.rest[n] && s.rest[n] <= '9' {
		v = v*10 + int64(s.rest[n]-'0')
		n++
	}
	// JSON has no leading zeros.
	if n == 0 || n == 19 || (n > 1 && s.rest[0] == '0') {
		s.bad = true
		return 0
	}
	s.rest = s.rest[n:]
	if negative {
		return -v
	}
	return v
}

func (s *scanner) within(low, high int64) int64 {
	v := s.integer()
	if v < low || v > high {
		s.bad = true
	}
	return v
}

// text reads a string without escapes; it returns known itself where that is the text.
func (s *scanner) text(known string) string {
	s.must(`"`)
	for i, c := range s.rest {
		switch {
		case s.bad || c == '\\' || c < 0x20 || c >= 0x7f:
			s.bad = true
			return ""
		case c == '"':
			raw := s.rest[:i]
			s.rest = s.rest[i+1:]
			if string(raw) == known {
				return known
			}
			return string(raw)
		}
	}
	s.bad = true
	return ""
}

// quoted reads a string in which quotes and backslashes are escaped, as in JSON within JSON.
func (s *scanner) quoted() string {
	s.must(`"`)
	escapes := 0
	for i := 0; i < len(s.rest) && !s.bad; i++ {
		switch c := s.rest[i]; {
		case c == '"':
			raw := s.rest[:i]
			s.rest = s.rest[i+1:]
			return unescape(raw, escapes)
		case c == '\\':
			if i++; i == len(s.rest) || (s.rest[i] != '"' && s.rest[i] != '\\') {
				s.bad = true
			}
			escapes++
		case c < 0x20 || c >= 0x7f:
			s.bad = true
		}
	}
	s.bad = true
	return ""
}

// unescape drops the backslash of each of so many escapes.
func unescape(raw []byte, escapes int) string {
	if escapes == 0 {
		return string(raw)
	}
	out := make([]byte, 0, len(raw)-escapes)
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			i++
		}
		out = append(out, raw[i])
	}
	return string(out)
}
