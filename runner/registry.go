package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// registryDir is where the absolute paths of open runs are kept, so that heal finds them from any folder:
// $XDG_STATE_HOME/discompose/runs, a file for each run, named by its id.
func registryDir() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the state folder: %w (set XDG_STATE_HOME)", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "discompose", "runs"), nil
}

// register notes that a run is open.
func register(d *Dir) error {
	dir, err := registryDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("register run: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, d.ID), []byte(d.Path+"\n"), 0o644); err != nil {
		return fmt.Errorf("register run: %w", err)
	}
	return nil
}

// unregister notes that a run left nothing behind.
func unregister(id string) error {
	dir, err := registryDir()
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unregister run: %w", err)
	}
	return nil
}

// Registered maps the id of each open run to its directory. A directory that is gone is listed too.
func Registered() (map[string]string, error) {
	dir, err := registryDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // an empty map
	}
	if err != nil {
		return nil, fmt.Errorf("list open runs: %w", err)
	}
	out := map[string]string{}
	for _, e := range entries {
		path, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("list open runs: %w", err)
		}
		out[e.Name()] = strings.TrimSpace(string(path))
	}
	return out, nil
}
