//go:build payload

package payload

import (
	"bytes"
	"debug/elf"
	"io"
	"testing"
)

func TestTheEmbeddedBuildsAreForLinuxOnTheirArchitecture(t *testing.T) {
	t.Parallel()
	for arch, want := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		r, err := Open(arch)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(raw))
		if err != nil || f.Machine != want {
			t.Errorf("%s: %v, %v", arch, f, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
