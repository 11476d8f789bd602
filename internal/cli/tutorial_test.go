package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// block is the text between a line of the tutorial and the end of its fence.
func block(t *testing.T, page, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, after+"\n")
	if !ok {
		t.Fatalf("the tutorial does not say %q", after)
	}
	text, _, _ := strings.Cut(rest, "```")
	return text
}

// What the first chapter shows without an engine is what the binary says of the project that it is about.
func TestTheTutorialIsTrue(t *testing.T) {
	raw, err := os.ReadFile("../../docs/tutorial/01-your-compose-file.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../e2e/testdata/foreign/bookshop")); err != nil {
		t.Fatal(err)
	}
	scenario := block(t, page, "```toml")
	if n := strings.Count(scenario, "\n"); n != 15 {
		t.Errorf("the scenario has %d lines, and the page says fifteen", n)
	}
	slow := strings.Replace(scenario, `"50ms"`, `"1s"`, 1)
	for name, text := range map[string]string{"db_outage.toml": scenario, "slow.toml": slow} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	call := func(args ...string) (stdout, stderr string) {
		var out, errs bytes.Buffer
		if code := Main(t.Context(), args, Streams{Out: &out, Err: &errs}); code != ExitPass {
			t.Fatalf("%v: exit %d: %s", args, code, errs.String())
		}
		return out.String(), errs.String()
	}
	for _, command := range []string{"topology", "plan db_outage.toml"} {
		out, said := call(strings.Fields(command)...)
		if diff := cmp.Diff(block(t, page, "$ discompose "+command), out+said); diff != "" {
			t.Errorf("%s (-page +binary):\n%s", command, diff)
		}
	}
	_, said := call("validate", "slow.toml")
	if said = strings.Replace(said, "slow.toml", "db_outage.toml", 1); said == "" || !strings.Contains(page, said) {
		t.Errorf("the page does not have %q", said)
	}
}
