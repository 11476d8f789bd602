//go:build !unix

package compose

import "os"

// chownLike does nothing: owners of files do not reach the engine's host here.
func chownLike(string, os.FileInfo) error { return nil }

// freeDisk is not known here.
func freeDisk(string) (int64, bool) { return 0, false }
