package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDescriptorsOfEveryProcess(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		x := newTree(t, engine{idA: 7}, v2)
		path := "/docker/" + idA
		x.process("7", path)
		dir := x.h.hierarchy("pids", path)
		x.write(filepath.Join(dir, "cgroup.procs"), "7\n8\n99\n") // 99 has ended meanwhile
		x.write(filepath.Join(dir, "below", "cgroup.procs"), "9\n")
		x.write(filepath.Join(x.h.hierarchy("pids", "/docker/"+idB), "cgroup.procs"), "10\n")
		for pid, targets := range map[string][]string{
			"7":  {"/dev/null", "socket:[1]", "pipe:[2]"},
			"8":  {"socket:[3]", "socket:[4]"},
			"9":  {"socket:[5]"},
			"10": {"socket:[6]"}, // another container's
		} {
			x.write(filepath.Join(x.h.proc, pid, "fd", "none"), "") // no link: closed while it was looked at
			for i, target := range targets {
				if err := os.Symlink(target, filepath.Join(x.h.proc, pid, "fd", string(rune('0'+i)))); err != nil {
					t.Fatal(err)
				}
			}
		}
		var got DescriptorsResult
		if err := x.h.Call(t.Context(), OpDescriptors, Descriptors{Container: idA}, &got); err != nil {
			t.Fatal(err)
		}
		if want := (DescriptorsResult{Processes: 3, Open: 6, Sockets: 4}); got != want {
			t.Errorf("v2 %v: %+v, want %+v", v2, got, want)
		}
	}
}

func TestDescriptorsOfAStoppedContainer(t *testing.T) {
	x := newTree(t, engine{idA: 0}, false)
	if err := x.h.Call(t.Context(), OpDescriptors, Descriptors{Container: idA}, nil); !errors.Is(err, ErrNotRunning) && (err == nil || !strings.Contains(err.Error(), "not running")) {
		t.Errorf("got %v", err)
	}
}
