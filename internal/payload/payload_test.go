package payload

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestOpenDecompressesTheBuildOfTheArchitecture(t *testing.T) {
	t.Parallel()
	all := fstest.MapFS{"linux-amd64.gz": {Data: zip(t, "for amd64")}, "linux-arm64.gz": {Data: zip(t, "for arm64")}}
	for _, arch := range []string{"amd64", "arm64"} {
		r, err := open(all, arch)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != "for "+arch {
			t.Errorf("%s: read %q, %v", arch, got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenOfWhatIsNotThereIsErrNotExist(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"s390x", "", "../amd64"} {
		if _, err := Open(arch); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want ErrNotExist", arch, err)
		}
	}
}

func TestOpenOfWhatIsNotGzipNamesTheArchitecture(t *testing.T) {
	t.Parallel()
	_, err := open(fstest.MapFS{"linux-amd64.gz": {Data: []byte("no gzip")}}, "amd64")
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("open of a broken payload: %v", err)
	}
}
