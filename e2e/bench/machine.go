package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/discompose/discompose/compose"
)

// machine names what the numbers depend on, without any name or path of this host. load is the load average before
// anything was measured.
func machine(ctx context.Context, e *compose.Engine, commit, dir string, load string) ([]string, error) {
	i, err := e.Info(ctx)
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("CPU: %s, %d cores, %s", cpuModel(), runtime.NumCPU(), runtime.GOARCH),
		fmt.Sprintf("memory: %.1f GiB", float64(i.MemoryBytes)/(1<<30)),
		fmt.Sprintf("kernel: %s (engine's host); runs and journal on %s", i.Kernel, fileSystem(dir)),
		fmt.Sprintf("engine: Docker %s, API %s, cgroup version %d (%s), storage %s", i.Version, i.APIVersion, i.CgroupVersion, i.CgroupDriver, i.Storage),
		fmt.Sprintf("Go: %s, GOMAXPROCS %d", runtime.Version(), runtime.GOMAXPROCS(0)),
		fmt.Sprintf("date: %s, commit %s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), commit),
		fmt.Sprintf("load average at the start (1, 5, 15 min): %s", load),
	}, nil
}

func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(raw))
	return strings.Join(f[:min(3, len(f))], " ")
}

func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// fileSystem names the type of the file system that holds dir, on which what fsync costs depends.
func fileSystem(dir string) string {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "an unknown file system"
	}
	found, kind := "", "an unknown file system"
	for line := range strings.SplitSeq(string(raw), "\n") {
		left, right, ok := strings.Cut(line, " - ")
		mount, fs := strings.Fields(left), strings.Fields(right)
		if !ok || len(mount) < 5 || len(fs) == 0 {
			continue
		}
		if at := mount[4]; len(at) > len(found) && strings.HasPrefix(dir+"/", strings.TrimSuffix(at, "/")+"/") {
			found, kind = at, fs[0]
		}
	}
	return kind
}
