package agent

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
)

// Version of the archive's layout: part of the image's hash.
const archiveFormat = "discompose-image-1"

const exeInImage = "discompose"

// executable is a binary that can be read several times.
type executable struct {
	arch string // as Go and Docker name it: "amd64"
	open func() (io.ReadCloser, error)
	size int64  // bytes, set by identify
	hash string // of the image, hex, set by identify
}

// identify reads the binary once, for its size and the image's hash.
func (b *executable) identify() error {
	h := newImageHash(b.arch)
	r, err := b.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read only
	if b.size, err = io.Copy(h, r); err != nil {
		return fmt.Errorf("hash executable: %w", err)
	}
	b.hash = hex.EncodeToString(h.Sum(nil))
	return nil
}

func newImageHash(arch string) hash.Hash {
	h := sha256.New()
	h.Write([]byte(archiveFormat + "\n" + arch + "\n"))
	return h
}

func (b *executable) ref() string { return "discompose/self:" + b.hash[:12] }

// writeArchive writes a docker-archive of an image that holds the binary and nothing else. The same binary gives the
// same bytes. It reads the binary once more and fails if it has changed since identify.
func (b *executable) writeArchive(w io.Writer) error {
	out := tar.NewWriter(w)
	diffID, err := b.writeLayer(out)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": b.arch,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"Entrypoint": []string{"/" + exeInImage},
			"Labels":     map[string]string{LabelImage: b.hash},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diffID}},
	})
	if err != nil {
		return fmt.Errorf("encode image config: %w", err)
	}
	sum := sha256.Sum256(config)
	name := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": name, "RepoTags": []string{b.ref()}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("encode image manifest: %w", err)
	}
	for _, f := range []struct {
		name string
		body []byte
	}{{name, config}, {"manifest.json", manifest}} {
		if err := out.WriteHeader(file(f.name, 0o644, int64(len(f.body)))); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		if _, err := out.Write(f.body); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// writeLayer streams the layer, a tar within the tar, and returns its digest.
func (b *executable) writeLayer(out *tar.Writer) (diffID string, err error) {
	const block = 512
	// Two headers, the binary padded to a block, and the two empty blocks that end a tar.
	size := 2*block + (b.size+block-1)/block*block + 2*block
	if err := out.WriteHeader(file("layer.tar", 0o644, size)); err != nil {
		return "", fmt.Errorf("write layer: %w", err)
	}
	digest, image := sha256.New(), newImageHash(b.arch)
	layer := tar.NewWriter(io.MultiWriter(out, digest))
	if err := layer.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir, Format: tar.FormatUSTAR}); err != nil {
		return "", fmt.Errorf("write layer: %w", err)
	}
	if err := layer.WriteHeader(file(exeInImage, 0o755, b.size)); err != nil {
		return "", fmt.Errorf("write layer: %w", err)
	}
	r, err := b.open()
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // read only
	if _, err := io.CopyBuffer(io.MultiWriter(layer, image), onlyReader{r}, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("write executable into layer: %w", err)
	}
	if err := layer.Close(); err != nil {
		return "", fmt.Errorf("write layer: %w", err)
	}
	if hex.EncodeToString(image.Sum(nil)) != b.hash {
		return "", fmt.Errorf("write layer: the executable changed while it was read")
	}
	return "sha256:" + hex.EncodeToString(digest.Sum(nil)), nil
}

// onlyReader hides WriterTo, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

func file(name string, mode, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: mode, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
}
