package agent

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Image is the image that agent and clients are started from.
type Image struct {
	Ref    string // "discompose/self:" and the first 12 digits of Hash
	Hash   string // 64 hex digits: a function of the executable and the engine's architecture
	Loaded bool   // it was missing and has been loaded now
}

// ErrPayload says that there is no executable for the engine's architecture to make the image from.
var ErrPayload = errors.New("no Linux executable for the engine")

// ImageSource says where the executable for the image comes from. The zero value is this program itself.
type ImageSource struct {
	// Exe is the executable to try first; empty is this program's own.
	Exe string
	// Payload opens the embedded Linux build for an architecture as Go names it ("amd64"), where Exe does not fit.
	// It is called twice. An error that wraps os.ErrNotExist says that there is none. It may be nil.
	Payload func(arch string) (io.ReadCloser, error)
	// Log is told, in one line each, what takes time; it may be nil.
	Log func(string)
}

// EnsureImage is ImageSource{Exe: exe, Log: log}.Ensure.
func EnsureImage(ctx context.Context, docker *client.Client, exe string, log func(string)) (Image, error) {
	return ImageSource{Exe: exe, Log: log}.Ensure(ctx, docker)
}

// Ensure loads the image into the engine unless one with its tag and label is there. The error wraps ErrPayload where
// no executable fits the engine.
func (s ImageSource) Ensure(ctx context.Context, docker *client.Client) (Image, error) {
	v, err := docker.ServerVersion(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("ask engine for its architecture: %w", err)
	}
	if v.Os != "linux" {
		return Image{}, fmt.Errorf("%w: it runs %s containers; switch it to Linux containers", ErrPayload, v.Os)
	}
	b, err := s.executable(v.Arch)
	if err != nil {
		return Image{}, err
	}
	if err := b.identify(); err != nil {
		return Image{}, err
	}
	img := Image{Ref: b.ref(), Hash: b.hash}
	there, err := hasImage(ctx, docker, img)
	if err != nil || there {
		return img, err
	}
	if s.Log != nil {
		s.Log(fmt.Sprintf("load image %s (%d MB) into the engine", img.Ref, b.size/1e6))
	}
	if err := load(ctx, docker, b); err != nil {
		return Image{}, fmt.Errorf("load image %s: %w", img.Ref, err)
	}
	if there, err = hasImage(ctx, docker, img); err != nil {
		return Image{}, err
	}
	if !there {
		return Image{}, fmt.Errorf("load image %s: the engine accepted it and does not list it with its label", img.Ref)
	}
	img.Loaded = true
	return img, nil
}

// hasImage goes by tag and label: with a containerd image store the id is not the config's hash.
func hasImage(ctx context.Context, docker *client.Client, img Image) (bool, error) {
	got, err := docker.ImageInspect(ctx, img.Ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inspect image %s: %w", img.Ref, err)
	}
	return got.Config != nil && got.Config.Labels[LabelImage] == img.Hash, nil
}

func load(ctx context.Context, docker *client.Client, b *executable) error {
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := b.writeArchive(pw)
		_ = pw.CloseWithError(err) // always nil
		written <- err
	}()
	resp, err := docker.ImageLoad(ctx, pr, client.ImageLoadWithQuiet(true))
	_ = pr.Close() // always nil
	// The engine need not read the blocks that end a tar. Whether it got enough, the inspection afterwards tells.
	if werr := <-written; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = errors.Join(werr, err)
	}
	if resp.Body != nil {
		defer resp.Body.Close() //nolint:errcheck // read to its end below
	}
	if err != nil {
		return err
	}
	// The engine reports a failed load as a message with status 200.
	for d := json.NewDecoder(resp.Body); ; {
		var m struct {
			Error string `json:"error"`
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

func (s ImageSource) executable(arch string) (*executable, error) {
	exe := s.Exe
	if exe == "" {
		var err error
		if exe, err = ownExecutable(); err != nil {
			return nil, fmt.Errorf("find own executable: %w", err)
		}
	}
	misfit := fits(exe, arch)
	if misfit == nil {
		return &executable{arch: arch, open: func() (io.ReadCloser, error) { return os.Open(exe) }}, nil
	}
	if s.Payload != nil {
		r, err := s.Payload(arch)
		if err == nil {
			return &executable{arch: arch, open: reopen(r, func() (io.ReadCloser, error) { return s.Payload(arch) })}, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("open embedded executable for linux/%s: %w", arch, err)
		}
	}
	return nil, fmt.Errorf("%w: it is linux/%s and %s %w, and no Linux build is embedded: use a release, or build with \"make build\"",
		ErrPayload, arch, exe, misfit)
}

// reopen hands out first once, then what open gives.
func reopen(first io.ReadCloser, open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		if r := first; r != nil {
			first = nil
			return r, nil
		}
		return open()
	}
}

func ownExecutable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil // also when the file was replaced since this process started
	}
	return os.Executable()
}

// fits is nil if the file is a static Linux executable for arch, else an error that reads on after the file's name.
func fits(path, arch string) error {
	f, err := elf.Open(path)
	var format *elf.FormatError
	if errors.As(err, &format) {
		return errors.New("is not a Linux executable")
	}
	if err != nil {
		return fmt.Errorf("cannot be read (%w)", err)
	}
	defer f.Close() //nolint:errcheck // read only
	if want, known := machines()[arch]; known && f.Machine != want {
		return fmt.Errorf("is built for %s", strings.TrimPrefix(f.Machine.String(), "EM_"))
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return errors.New("is linked dynamically (build it with CGO_ENABLED=0)")
	}
	return nil
}

func machines() map[string]elf.Machine {
	return map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
		"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV,
	}
}

// PruneImages removes every image that this package has made, but keepRef and those that a container uses, and
// returns the removed tags (ids where there is no tag), sorted.
func PruneImages(ctx context.Context, docker *client.Client, keepRef string) ([]string, error) {
	images, err := docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelImage))})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	containers, err := docker.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var removed []string
	var errs []error
	for _, img := range images {
		used := slices.ContainsFunc(containers, func(c container.Summary) bool { return c.ImageID == img.ID })
		if used || slices.Contains(img.RepoTags, keepRef) {
			continue
		}
		names := img.RepoTags
		if len(names) == 0 {
			names = []string{img.ID}
		}
		for _, name := range names {
			_, err := docker.ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true})
			switch {
			case err == nil:
				removed = append(removed, name)
			case errdefs.IsNotFound(err), errdefs.IsConflict(err): // gone, or a container took it just now
			default:
				errs = append(errs, fmt.Errorf("remove image %s: %w", name, err))
			}
		}
	}
	slices.Sort(removed)
	return removed, errors.Join(errs...)
}
