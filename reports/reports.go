// Package reports writes what a run found, in every format: from the run directory alone, so that any format can be made
// again later.
//
// Load reads a run directory into a Record; each format is one function from a Record to text, listed in Formats. Several
// runs of one call are Entries, which Summary, SummaryMarkdown, JUnitSuite and GitHub tell of. A Record is read-only and
// safe for concurrent use. The package imports ledger, oracle and internal/units only.
package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Writer writes one format. It returns the errors of w only: a Record with missing parts gives a shorter report.
type Writer func(w io.Writer, r *Record) error

// Format is one format of a report.
type Format struct {
	Name  string // for `report --format`
	File  string // name in the run directory; empty where it is printed only
	Write Writer
}

// FileVerdict is the file of a run directory that says in a line how the run ended: "PASS degraded".
const FileVerdict = "verdict"

// Formats lists every format in the order in which a run writes them.
func Formats() []Format {
	return []Format{
		{Name: "verdict", File: FileVerdict, Write: Verdict},
		{Name: "json", File: "report.json", Write: JSON},
		{Name: "junit", File: "junit.xml", Write: JUnit},
		{Name: "markdown", File: "report.md", Write: Markdown},
		{Name: "text", Write: Text},
	}
}

// WriteAll writes every format that has a file into dir, each by a rename, so that a reader never sees half a report. One
// that cannot be written does not keep the others back; the error joins them all.
func WriteAll(dir string, r *Record) error {
	var errs []error
	for _, f := range Formats() {
		if f.File == "" {
			continue
		}
		if err := f.save(dir, r); err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", f.File, err))
		}
	}
	return errors.Join(errs...)
}

func (f Format) save(dir string, r *Record) error {
	return WriteFile(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Write(w, r) })
}

// WriteFile writes a file by a rename, so that a reader never sees half of it.
func WriteFile(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
