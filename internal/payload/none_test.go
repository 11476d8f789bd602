//go:build !payload

package payload

import (
	"errors"
	"io/fs"
	"testing"
)

func TestNothingIsEmbeddedWithoutTheTag(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		if _, err := Open(arch); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want ErrNotExist", arch, err)
		}
	}
}
