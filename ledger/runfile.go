package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RunFile is the name of the file in a run directory that WriteRun writes.
const RunFile = "run.json"

// RunVersion is the version that this build writes into run.json ("v").
const RunVersion = 1

// WriteRun writes run.json into dir: durable, and whole or not at all. A zero V is set to RunVersion.
func WriteRun(dir string, run Run) error {
	if run.V == 0 {
		run.V = RunVersion
	}
	body, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", RunFile, err)
	}
	if err := replaceFile(filepath.Join(dir, RunFile), append(body, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", RunFile, err)
	}
	return nil
}

// replaceFile writes a file under a temporary name, makes it durable and renames it to path.
func replaceFile(path string, body []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(body)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadRun reads run.json from dir. It refuses a newer version with a *VersionError; a missing file is fs.ErrNotExist.
func ReadRun(dir string) (Run, error) {
	path := filepath.Join(dir, RunFile)
	body, err := os.ReadFile(path)
	if err != nil {
		return Run{}, fmt.Errorf("read run: %w", err)
	}
	var version struct{ V int }
	if err := json.Unmarshal(body, &version); err != nil {
		return Run{}, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case version.V > RunVersion:
		return Run{}, fmt.Errorf("read %s: %w", path, &VersionError{What: RunFile, Version: version.V, Known: RunVersion})
	case version.V < 1:
		return Run{}, fmt.Errorf("read %s: it has no version (\"v\"): it is not the %s of a run", path, RunFile)
	}
	var run Run
	if err := json.Unmarshal(body, &run); err != nil {
		return Run{}, fmt.Errorf("read %s: %w", path, err)
	}
	return run, nil
}
