// Package payload provides the Linux builds of this program that are embedded into a build for another system: agent and
// clients run in Linux containers wherever the runner runs.
//
// `make build` embeds them, by the build tag "payload", when the target is not Linux; a plain `go install` embeds none.
// The package is safe for concurrent use and imports nothing of this module.
package payload

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Open reads the embedded Linux build for an architecture as Go names it ("amd64"). The error wraps fs.ErrNotExist where
// there is none. The caller closes the reader.
func Open(arch string) (io.ReadCloser, error) { return open(files(), arch) }

func open(files fs.FS, arch string) (io.ReadCloser, error) {
	f, err := files.Open("linux-" + arch + ".gz")
	if err != nil {
		return nil, fmt.Errorf("open embedded build: %w", err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open embedded build for linux/%s: %w", arch, err), f.Close())
	}
	return &build{z, f}, nil
}

// build closes the file along with its decompressor, whose own Close says nothing that Read has not said.
type build struct {
	io.Reader
	file io.Closer
}

func (b *build) Close() error { return b.file.Close() }
