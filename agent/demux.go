package agent

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// demux reads standard output out of an attach stream and writes standard error to a side. The frame's header is
// one byte of stream (1 output, 2 error, 3 the engine's own error), three unused, and the length, big endian.
// Source: github.com/docker/docker/pkg/stdcopy, v28.5.2; this one copies output once and never grows.
type demux struct {
	r    *bufio.Reader
	side io.Writer
	left int // bytes of output left in the current frame
}

func newDemux(r io.Reader, side io.Writer) *demux {
	return &demux{r: bufio.NewReaderSize(r, readBuffer), side: side}
}

// Read returns bytes of standard output.
func (d *demux) Read(p []byte) (int, error) {
	for d.left == 0 {
		if err := d.header(); err != nil {
			return 0, err
		}
	}
	n, err := d.r.Read(p[:min(len(p), d.left)])
	d.left -= n
	return n, err
}

func (d *demux) header() error {
	var h [8]byte
	if _, err := io.ReadFull(d.r, h[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(h[4:]))
	switch h[0] {
	case 1:
		d.left = int(size)
		return nil
	case 2:
		_, err := io.CopyN(d.side, d.r, size)
		return err
	case 3:
		text, err := io.ReadAll(io.LimitReader(d.r, min(size, 4096)))
		if err != nil {
			return err
		}
		return fmt.Errorf("the engine ended the stream: %s", oneLine(string(text)))
	default:
		return fmt.Errorf("read stream: frame of unknown kind %d", h[0])
	}
}
