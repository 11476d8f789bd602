package compose

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// address is a place that a text names.
type address struct {
	host string
	port int // 0 where the text does not tell it
}

var (
	schemePattern = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+._-]*)://`)
	hostPattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
)

// reading is how a text is read.
type reading int

const (
	asText    reading = iota
	asHosts           // of a variable whose name says that it holds hosts
	asCommand         // a program with its arguments
)

// addressesIn finds addresses in a text: URLs with one host or several, host:port in any list, DSNs of the forms
// "host=db port=5432", "Server=db,1433" and "user@tcp(db)/", JDBC's, and JSON. A host without a port counts only where
// what is around it says that it is a host: the variable that holds the text, a key of the text itself, or in a command a
// flag. The hosts may be anything: the caller knows which exist.
func addressesIn(text string, as reading) []address {
	found, rest := urls(text)
	s := &sentence{as: as, words: wordsOf(rest)}
	for i := range s.words {
		found = append(found, s.at(i)...)
	}
	return found
}

// urls finds the hosts of URLs, and returns the text without their schemes and authorities. Paths and queries stay: a
// query may hold a host, as in postgres:///app?host=db.
func urls(text string) (found []address, rest string) {
	blank := []byte(text)
	for _, m := range schemePattern.FindAllStringSubmatchIndex(text, -1) {
		end := len(text)
		if n := strings.IndexAny(text[m[1]:], "/?#;|\"'` \t\r\n<>(){}[]\\"); n >= 0 {
			end = m[1] + n
		}
		authority := text[m[1]:end]
		hosts := authority[strings.LastIndexByte(authority, '@')+1:] // after user and password
		for one := range strings.SplitSeq(hosts, ",") {
			host, port, explicit := strings.Cut(one, ":")
			n := schemePort(text[m[2]:m[3]])
			if explicit {
				n = portOf(port)
			}
			if hostPattern.MatchString(host) && (n > 0 || !explicit) {
				found = append(found, address{host, n})
			}
		}
		for i := m[0]; i < end; i++ {
			blank[i] = ' '
		}
	}
	return found, string(blank)
}

// word is a part of a text that could be a host, a key or a port, and what is between it and the word before it.
type word struct{ gap, text string }

const delimiters = " \t\r\n,;|&\"'`()[]{}<>=@?#$*!\\"

// wordsOf splits a text; a last empty word holds what follows the last real one.
func wordsOf(text string) []word {
	text = strings.NewReplacer(`":`, `"=`, `':`, `'=`).Replace(text) // JSON's keys
	var out []word
	for {
		n := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(delimiters, r) })
		if n < 0 {
			return append(out, word{gap: text})
		}
		gap := text[:n]
		text = text[n:]
		end := strings.IndexAny(text, delimiters)
		if end < 0 {
			end = len(text)
		}
		out = append(out, word{gap, text[:end]})
		text = text[end:]
	}
}

// sentence is a text in which words are understood by what is around them.
type sentence struct {
	as    reading
	words []word
}

// at is what the i-th word addresses: nothing, or a host with the ports that follow it (ZooKeeper names two).
func (s *sentence) at(i int) []address {
	text := s.words[i].text
	if i+1 == len(s.words) || s.isKey(i) || strings.HasPrefix(s.words[i+1].gap, "@") {
		return nil // the end, a key, or a user and password
	}
	if dev, ok := strings.CutPrefix(text, "/dev/tcp/"); ok { // bash
		host, port, _ := strings.Cut(dev, "/")
		return []address{{host, portOf(port)}}
	}
	host, ports, ok := hostPorts(text)
	if !ok {
		return nil
	}
	var out []address
	for _, p := range ports {
		out = append(out, address{host, p})
	}
	if len(ports) == 0 && s.saysHost(i) {
		out = append(out, address{host, s.portFor(i)})
	}
	return out
}

// hostPorts splits "db:5432", "zoo1:2888:3888", "label:redis:6379", "//oracle:1521/XE", "tcp:mssql" and "db".
func hostPorts(text string) (host string, ports []int, ok bool) {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "//"), "tcp:")
	text, _, hasPath := strings.Cut(text, "/")
	parts := strings.Split(text, ":")
	first := slices.IndexFunc(parts[1:], func(p string) bool { return portOf(p) > 0 }) // the part before it is the host
	if first < 0 {
		return strings.TrimSuffix(text, "."), nil, len(parts) == 1 && !hasPath && hostPattern.MatchString(text)
	}
	for _, p := range parts[first+1:] {
		n := portOf(p)
		if n == 0 {
			break
		}
		ports = append(ports, n)
	}
	host = strings.TrimSuffix(parts[first], ".")
	return host, ports, hostPattern.MatchString(host)
}

// isKey reports whether the i-th word is given a value by the next one.
func (s *sentence) isKey(i int) bool { return i+1 < len(s.words) && s.assigned(i+1) }

// assigned reports whether the i-th word is the value of the word before it: key=value, "key": "value", key: value.
func (s *sentence) assigned(i int) bool {
	if i == 0 || strings.Contains(s.words[i].gap, `""`) || strings.Contains(s.words[i].gap, "''") {
		return false // the word before it has the empty value
	}
	return strings.HasSuffix(strings.TrimRight(s.words[i].gap, "\"'` "), "=") || strings.HasSuffix(s.words[i-1].text, ":")
}

// keyOf is the key or flag that the i-th word is the value of; ok is false where it is nobody's.
func (s *sentence) keyOf(i int) (key string, ok bool) {
	if i == 0 {
		return "", false
	}
	before := s.words[i-1].text
	flag := s.as == asCommand && strings.HasPrefix(before, "-")
	if !s.assigned(i) && !flag {
		return "", false
	}
	before = strings.TrimSuffix(before, ":")
	before = before[strings.LastIndexByte(before, ':')+1:] // PHP's mysql:host=db
	if flag && (before == "-h" || before == "-H") {
		return "host", true
	}
	return strings.TrimLeft(before, "-"), true
}

// saysHost reports whether what is before the i-th word says that it is a host.
func (s *sentence) saysHost(i int) bool {
	netcat := func(w word) bool {
		return slices.Contains([]string{"nc", "ncat", "netcat", "telnet"}, path.Base(w.text))
	}
	if s.as == asCommand && s.portAfter(i) > 0 && slices.ContainsFunc(s.words[:i], netcat) {
		return true
	}
	if key, ok := s.keyOf(i); ok {
		return isHostKey(key)
	}
	if i > 0 && strings.HasPrefix(s.words[i-1].text, "tcp") && strings.HasSuffix(s.words[i].gap, "(") {
		return true
	}
	return s.as == asHosts
}

// portFor is the port that belongs to a host without one: the number after it, or the value of a key or flag.
func (s *sentence) portFor(i int) int {
	if n := s.portAfter(i); n > 0 {
		return n
	}
	for k := range s.words {
		key, ok := s.keyOf(k)
		if ok && slices.Contains([]string{"port", "portnumber", "p"}, strings.ToLower(key)) && portOf(s.words[k].text) > 0 {
			return portOf(s.words[k].text)
		}
	}
	return 0
}

func (s *sentence) portAfter(i int) int {
	next := s.words[min(i+1, len(s.words)-1)]
	if strings.Trim(next.gap, " ,") != "" {
		return 0
	}
	return portOf(next.text)
}
