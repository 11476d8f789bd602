package agent

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/docker/docker/pkg/stdcopy"
)

func TestDemuxSplitsWhatTheEngineJoins(t *testing.T) {
	var joined bytes.Buffer
	out, side := stdcopy.NewStdWriter(&joined, stdcopy.Stdout), stdcopy.NewStdWriter(&joined, stdcopy.Stderr)
	var want, wantSide strings.Builder
	for i := range 300 {
		for w, b := range map[io.Writer]*strings.Builder{out: &want, side: &wantSide} {
			text := strings.Repeat(string(rune('a'+i%26)), i*7)
			b.WriteString(text)
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, r := range map[string]io.Reader{"whole": &joined, "by the byte": iotest.OneByteReader(bytes.NewReader(joined.Bytes()))} {
		var err2 tail
		got, err := io.ReadAll(newDemux(r, &err2))
		if err != nil || string(got) != want.String() {
			t.Errorf("%s: %d bytes of output, %v; want %d", name, len(got), err, want.Len())
		}
		if all := wantSide.String(); err2.last(1000) != all[len(all)-1000:] {
			t.Errorf("%s: the end of standard error differs", name)
		}
	}
}

func TestDemuxTellsTheEnginesOwnError(t *testing.T) {
	var joined bytes.Buffer
	if _, err := stdcopy.NewStdWriter(&joined, stdcopy.Systemerr).Write([]byte("container is gone")); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadAll(newDemux(&joined, io.Discard))
	if err == nil || !strings.Contains(err.Error(), "container is gone") {
		t.Errorf("got %v", err)
	}
	if _, err := io.ReadAll(newDemux(strings.NewReader("\x09\x00\x00\x00\x00\x00\x00\x01x"), io.Discard)); err == nil {
		t.Error("a frame of an unknown kind was accepted")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var got tail
	for range 100 {
		if _, err := got.Write(bytes.Repeat([]byte("x"), 10000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := got.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	if s := got.last(tailBytes); len(s) != tailBytes || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes, ending %q", len(s), s[len(s)-4:])
	}
	if len(got.buf) > 3*tailBytes {
		t.Errorf("it keeps %d bytes", len(got.buf))
	}
}
