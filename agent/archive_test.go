package agent

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fakeExe(t *testing.T, arch string, body []byte) *executable {
	t.Helper()
	b := &executable{arch: arch, open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}
	if err := b.identify(); err != nil {
		t.Fatal(err)
	}
	return b
}

func archiveOf(t *testing.T, b *executable) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := b.writeArchive(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// untar lists a tar: name → body, and name → mode.
func untar(t *testing.T, b []byte) (map[string][]byte, map[string]fs.FileMode) {
	t.Helper()
	files, modes := map[string][]byte{}, map[string]fs.FileMode{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.FileInfo().Mode()
	}
}

func TestArchiveIsAFunctionOfTheExecutable(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 3 << 20} {
		body := bytes.Repeat([]byte{7}, size)
		one, two := fakeExe(t, "amd64", body), fakeExe(t, "amd64", body)
		if !bytes.Equal(archiveOf(t, one), archiveOf(t, two)) || one.ref() != two.ref() {
			t.Errorf("%d bytes: two builds differ", size)
		}
		if other := fakeExe(t, "arm64", body); other.hash == one.hash {
			t.Errorf("%d bytes: two architectures have one hash", size)
		}
		if other := fakeExe(t, "amd64", append(body, 1)); other.hash == one.hash {
			t.Errorf("%d bytes: two executables have one hash", size)
		}
	}
}

func TestArchiveHoldsTheImage(t *testing.T) {
	body := bytes.Repeat([]byte("program "), 1000)
	b := fakeExe(t, "arm64", body)
	files, _ := untar(t, archiveOf(t, b))
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Architecture, OS string
		Config           struct {
			Entrypoint []string
			Labels     map[string]string
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	layer := files[manifest[0].Layers[0]]
	got := []any{
		manifest[0].RepoTags, config.Architecture, config.OS, config.Config.Entrypoint, config.Config.Labels, config.Rootfs.DiffIDs,
	}
	want := []any{
		[]string{"discompose/self:" + b.hash[:12]},
		"arm64", "linux",
		[]string{"/discompose"},
		map[string]string{LabelImage: b.hash},
		[]string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	inside, modes := untar(t, layer)
	if !bytes.Equal(inside["discompose"], body) {
		t.Error("the layer holds another executable")
	}
	if diff := cmp.Diff(map[string]fs.FileMode{"discompose": 0o755, "tmp/": fs.ModeDir | fs.ModeSticky | 0o777}, modes); diff != "" {
		t.Error(diff)
	}
}

func TestArchiveRefusesAnExecutableThatChanges(t *testing.T) {
	reads := 0
	b := &executable{arch: "amd64", open: func() (io.ReadCloser, error) {
		reads++
		return io.NopCloser(strings.NewReader(fmt.Sprintf("build %d", reads))), nil
	}}
	if err := b.identify(); err != nil {
		t.Fatal(err)
	}
	if err := b.writeArchive(io.Discard); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v, want an error that says so", err)
	}
}

func TestExecutableComesFromThePayloadWhereTheOwnDoesNotFit(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	opened := 0
	payload := func(arch string) (io.ReadCloser, error) {
		opened++
		if arch != "arm64" {
			return nil, fmt.Errorf("linux/%s: %w", arch, os.ErrNotExist)
		}
		return io.NopCloser(strings.NewReader("embedded")), nil
	}
	b, err := ImageSource{Exe: script, Payload: payload}.executable("arm64")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.identify(); err != nil {
		t.Fatal(err)
	}
	archiveOf(t, b)
	if b.size != int64(len("embedded")) || opened != 2 {
		t.Errorf("size %d after %d openings, want 8 after 2", b.size, opened)
	}
	for name, s := range map[string]ImageSource{
		"no payload":                      {Exe: script},
		"none for the architecture":       {Exe: script, Payload: payload},
		"the executable is not there":     {Exe: script + "x"},
		"the executable is for elsewhere": {Exe: "/proc/self/exe"},
	} {
		_, err := s.executable("s390x")
		if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), "make build") {
			t.Errorf("%s: %v, want ErrPayload with what to do", name, err)
		}
	}
	_, err = ImageSource{Exe: "/proc/self/exe"}.executable("s390x")
	if err == nil || !strings.Contains(err.Error(), "is built for") {
		t.Errorf("got %v, want the machine that it is built for", err)
	}
	broken := func(string) (io.ReadCloser, error) { return nil, errors.New("damaged") }
	if _, err := (ImageSource{Exe: script, Payload: broken}).executable("arm64"); err == nil || errors.Is(err, ErrPayload) {
		t.Errorf("a damaged payload: %v, want its own error", err)
	}
}
