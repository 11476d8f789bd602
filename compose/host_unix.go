//go:build unix

package compose

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// chownLike gives a copy the owner of the original, where this process may.
func chownLike(path string, like os.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}

// freeDisk is the number of bytes that unprivileged processes may still write below path; false where it is not known.
func freeDisk(path string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:gosec,unconvert // less than 8 EiB; the types differ between systems
}
