package scenarios

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestScanFindsEachKeyAndElement(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, source string
		want         map[string]string // path → row:col
	}{
		{"plain keys, with comments and indentation", "# a = 1\n  a = 1 # b = 2\n\tb=\"x # y\"\r\nc = 'it # s'\n", map[string]string{"a": "2:3", "b": "3:2", "c": "4:1"}},
		{"tables", "[a]\nx = 1\n[a.b]\nx = 2\n[ c . \"d e\" ]\nx = 3", map[string]string{
			"a": "1:2", "a.x": "2:1", "a.b": "3:4", "a.b.x": "4:1", "c": "5:3", `c."d e"`: "5:7", `c."d e".x`: "6:1",
		}},
		{"arrays of tables, with tables inside", "[[f]]\nk = 1\n[[f]]\nk = 2\n[f.o]\nx = 1\n[[f.l]]\ny = 1\n[[f.l]]\n[[f]]\n[[f.l]]\ny = 2", map[string]string{
			"f": "1:3", "f[0]": "1:3", "f[0].k": "2:1", "f[1]": "3:3", "f[1].k": "4:1", "f[1].o": "5:4", "f[1].o.x": "6:1",
			"f[1].l": "7:5", "f[1].l[0]": "7:5", "f[1].l[0].y": "8:1", "f[1].l[1]": "9:5", "f[2]": "10:3", "f[2].l": "11:5", "f[2].l[0]": "11:5", "f[2].l[0].y": "12:1",
		}},
		{"dotted keys", "a.b.c = 1\na . d=2\n'x.y'.\"z\" = 3", map[string]string{"a": "1:1", "a.b": "1:3", "a.b.c": "1:5", "a.d": "2:5", `"x.y"`: "3:1", `"x.y".z`: "3:7"}},
		{"inline tables", "o = { a = 1, b = [ { c = 2 }, {} ], d.e = 3 }\nz = 0", map[string]string{
			"o": "1:1", "o.a": "1:7", "o.b": "1:14", "o.b[0]": "1:20", "o.b[0].c": "1:22", "o.b[1]": "1:31", "o.d": "1:37", "o.d.e": "1:39", "z": "2:1",
		}},
		{"arrays over several lines", "l = [\n  1, # one, [2]\n  \"]\",\n\n  [ 'a', 'b' ],\n]\nz = 1979-05-27 07:32:00", map[string]string{
			"l": "1:1", "l[0]": "2:3", "l[1]": "3:3", "l[2]": "5:3", "l[2][0]": "5:5", "l[2][1]": "5:10", "z": "7:1",
		}},
		{"strings over several lines", "a = \"\"\"\nb = 1\n\"x\" \\\"\"\" \\\\\"\"\"\"\"\nc = '''\n[d]\\'''\ne = \"\\\"\" # x\nf = ''", map[string]string{"a": "1:1", "c": "4:1", "e": "6:1", "f": "7:1"}},
		{"characters, not bytes", "o = { \"ä\" = 'ö', b = 1 }", map[string]string{"o": "1:1", `o."ä"`: "1:7", "o.b": "1:18"}},
		{"a byte order mark", "\ufeffa = 1", map[string]string{"a": "1:1"}},
		{"a quoted key with a quote, a dot and an escape", `"a\"b.\u0041" = 1`, map[string]string{`"a\"b.A"`: "1:1"}},
		{"keys that look like numbers", "1.2 = 3\n[4]\n-5 = 6", map[string]string{"1": "1:1", "1.2": "1:3", "4": "2:2", "4.-5": "3:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var doc map[string]any
			if _, err := toml.Decode(c.source, &doc); err != nil {
				t.Fatalf("the case is no TOML: %v", err)
			}
			got := map[string]string{}
			for path, p := range scan("f", c.source) {
				got[path] = fmt.Sprintf("%d:%d", p.Row, p.Col)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParentKeyCutsOnePart(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"a": "", "a.b": "a", "a[0]": "a", "a[0].b": "a[0]", `a."b.c"`: "a", `"b.c"`: "", `a."b\"[0]"`: "a", `a."b\\"`: "a", `a."b"[3]`: `a."b"`,
	} {
		if got := parentKey(path); got != want {
			t.Errorf("parentKey(%s) = %q, want %q", path, got, want)
		}
	}
}

func TestInsideComparesWholeParts(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{"a.b": true, "a.b.c": true, "a.b[0]": true, "a.bc": false, "a": false, "a.b-c": false} {
		if inside(path, "a.b") != want {
			t.Errorf("inside(%s, a.b) is %v", path, !want)
		}
	}
}

// FuzzScan compares the scanner with the TOML parser: every key that the parser finds has a place, and the text there
// is that key.
func FuzzScan(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, source string) {
		places := scan("f", source) // must end on any input
		var doc map[string]any
		if _, err := toml.Decode(source, &doc); err != nil || strings.HasPrefix(source, "\xff\xfe") || strings.HasPrefix(source, "\xfe\xff") {
			return
		}
		rows := strings.Split(strings.TrimPrefix(source, "\ufeff"), "\n")
		compare(t, places, rows, doc, "", 0)
	})
}

func compare(t *testing.T, places map[string]Place, rows []string, v any, path string, depth int) {
	t.Helper()
	if depth > maxDepth/2 {
		return
	}
	if path != "" {
		comparePlace(t, places, rows, path)
	}
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			compare(t, places, rows, sub, joinKey(path, k), depth+1)
		}
	case []map[string]any:
		for i, sub := range v {
			compare(t, places, rows, sub, indexKey(path, i), depth+1)
		}
	case []any:
		for i, sub := range v {
			compare(t, places, rows, sub, indexKey(path, i), depth+1)
		}
	}
}

// comparePlace fails unless the key stands at its place.
func comparePlace(t *testing.T, places map[string]Place, rows []string, path string) {
	t.Helper()
	p, ok := places[path]
	if !ok {
		t.Fatalf("%s has no place", path)
	}
	text := []rune(rows[p.Row-1])[p.Col-1:]
	if key := path[len(parentKey(path)):]; key[0] != '[' {
		key = strings.TrimPrefix(key, ".")
		quoted := len(text) > 0 && (text[0] == '"' || text[0] == '\'')
		if !strings.HasPrefix(string(text), key) && !quoted {
			t.Fatalf("at the place of %s stands %q", path, string(text))
		}
	}
}

// corpus is every shipped file, and some that stress the scanner.
func corpus(tb testing.TB) []string {
	tb.Helper()
	out := []string{
		"a = [1,\n2]\nb = {c = [{d = 1}], \"e.f\" = 2}\n[[g]]\n[[g.h]]\ni.j.k = 1\n", "a = \"\"\"x\"\"\"\"\"\nb = '''\n'''\n",
		"\"\" = 1\n[\"a\\tb\".c]\nd = 1e3", "a = [{b = 1}, [2, {c = 3}]]", "o = {\n a = 1, # x\n b = 2,\n}\n",
	}
	err := fs.WalkDir(shipped, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(shipped, path)
		out = append(out, string(text))
		return err
	})
	if err != nil || len(out) < 12 {
		tb.Fatalf("read the shipped scenarios: %d files, %v", len(out), err)
	}
	return out
}
