package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// filePath is where the run keeps the copy of a bound file.
func (c bindCopy) filePath(dir string) string {
	return filepath.Join(dir, "binds", strconv.Itoa(c.Index), filepath.Base(c.Source))
}

// placeFiles points mounts of bound files at the run's copies. It touches nothing on disk.
func placeFiles(p *Project, dir string) {
	for _, c := range p.copies {
		if c.Volume != "" {
			continue
		}
		s, ok := p.p.Services[c.Service]
		if !ok {
			s = p.p.DisabledServices[c.Service]
		}
		for n, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && v.Target == c.Target {
				s.Volumes[n].Source = c.filePath(dir)
			}
		}
	}
}

// copyFiles copies bound files into the run's folder, which the engine must see under the same path.
func (e *Environment) copyFiles() error {
	for _, c := range e.project.copies {
		if c.Volume != "" {
			continue
		}
		if !e.engine.Local() {
			return fmt.Errorf("copy %s for service %s: the engine is at %s and cannot see the copy; bind the file read-only, or %s",
				c.Source, c.Service, e.engine.endpoint, allow("bind", c.Source))
		}
		if err := copyFile(c.Source, c.filePath(e.run.Dir)); err != nil {
			return fmt.Errorf("copy %s for service %s: %w", c.Source, c.Service, err)
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it is only read
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, st.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Chmod(to, st.Mode().Perm()), chownLike(to, st))
}

// fill copies bound folders into the run's volumes, before a container starts that mounts them; service limits it to the
// copies that were made for that one. The engine reads and writes the folders itself, so owners and modes stay and it works
// for a remote engine too.
func (e *Environment) fill(ctx context.Context, service string, progress func(Event)) error {
	for _, c := range e.project.copies {
		s, enabled := e.project.p.Services[c.Service]
		if c.Volume == "" || c.Empty || (service == "" && !enabled) || (service != "" && c.Service != service) {
			continue
		}
		if !enabled {
			s = e.project.p.DisabledServices[c.Service]
		}
		if progress != nil {
			progress(Event{Time: time.Now().UnixNano(), Service: c.Service, Name: c.Source, Action: "Copying", Detail: "copying"})
		}
		if err := e.fillOne(ctx, c, s.Image); err != nil {
			return fmt.Errorf("copy %s for service %s: %w", c.Source, c.Service, err)
		}
	}
	return nil
}

// fillOne copies through a container that never starts: the engine mounts what an archive call needs.
func (e *Environment) fillOne(ctx context.Context, c bindCopy, image string) (err error) {
	d := e.engine.docker
	const from, to = "/discompose-from", "/discompose-to"
	made, err := d.ContainerCreate(ctx,
		&container.Config{Image: image, Cmd: []string{"none"}, Labels: map[string]string{LabelRun: e.run.Run, LabelRole: "copy"}},
		&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: c.Source, Target: from, ReadOnly: true},
			{Type: mount.TypeVolume, Source: e.project.p.Volumes[c.Volume].Name, Target: to, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
		}}, nil, nil, "")
	if err != nil {
		return err
	}
	defer func() {
		quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, d.ContainerRemove(quick, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}()
	archive, _, err := d.CopyFromContainer(ctx, made.ID, path.Clean(from)+"/.")
	if err != nil {
		return err
	}
	err = d.CopyToContainer(ctx, made.ID, to, &counted{r: archive}, container.CopyToContainerOptions{AllowOverwriteDirWithFile: false, CopyUIDGID: false})
	return errors.Join(err, archive.Close())
}

// counted stops a copy that grows over the limit.
type counted struct {
	r io.Reader
	n int64
}

var errTooLarge = errors.New("it is larger than 1 GiB")

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.n > MaxCopyBytes+MaxCopyBytes/8 { // the archive's own headers count too
		return n, errTooLarge
	}
	return n, err
}
