package compose

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/docker/api/types/container"

	"github.com/discompose/discompose/internal/units"
)

// DefaultServiceMemory is what a container is taken to need where nothing tells.
const DefaultServiceMemory = 256 << 20

// MemoryNeed estimates what the project's containers need together, in bytes: of each the memory limit that the file sets,
// else what a shipped environment says of it (x-discompose: {memory: 768MiB}), else DefaultServiceMemory. A service that ends
// before the others start counts all the same.
func (p *Project) MemoryNeed() int64 {
	var sum int64
	for _, s := range p.p.Services {
		sum += p.serviceMemory(s) * int64(s.GetScale())
	}
	return sum
}

func (p *Project) serviceMemory(s types.ServiceConfig) int64 {
	if limit := memoryLimit(s); limit > 0 {
		return limit
	}
	if x, ok := s.Extensions["x-discompose"].(map[string]any); ok && p.shipped != "" {
		var size units.Size
		if err := size.UnmarshalText([]byte(text(x["memory"]))); err == nil && size > 0 {
			return int64(size)
		}
	}
	return DefaultServiceMemory
}

// memoryLimit is the limit that a service's file sets, in bytes; 0 for none.
func memoryLimit(s types.ServiceConfig) int64 {
	limit := int64(s.MemLimit)
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		limit = max(limit, int64(s.Deploy.Resources.Limits.MemoryBytes))
	}
	return limit
}

// FreeMemory estimates how many bytes more the engine's host can give to containers. Where the engine's kernel is this
// machine's it is what that kernel calls available; elsewhere the host's memory without a tenth, and without what the
// running containers use.
func (e *Engine) FreeMemory(ctx context.Context) (int64, error) {
	info, err := e.Info(ctx)
	if err != nil {
		return 0, err
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil && e.Local() && !info.Desktop {
		if free, ok := available(data); ok {
			return free, nil
		}
	}
	list, err := e.docker.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("list containers: %w", err)
	}
	used, errs := make([]int64, len(list)), make([]error, len(list))
	var all sync.WaitGroup
	for i, c := range list {
		all.Go(func() { used[i], errs[i] = e.usedBy(ctx, c.ID) })
	}
	all.Wait()
	free := info.MemoryBytes - info.MemoryBytes/10
	for _, n := range used {
		free -= n
	}
	return max(free, 0), errors.Join(errs...)
}

// usedBy is the memory that a container uses, page cache included; 0 of one that has ended.
func (e *Engine) usedBy(ctx context.Context, id string) (int64, error) {
	r, err := e.docker.ContainerStatsOneShot(ctx, id)
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read stats of container %.12s: %w", id, err)
	}
	var v container.StatsResponse
	if err := errors.Join(json.NewDecoder(r.Body).Decode(&v), r.Body.Close()); err != nil {
		return 0, fmt.Errorf("read stats of container %.12s: %w", id, err)
	}
	return int64(v.MemoryStats.Usage), nil //nolint:gosec // an amount of memory fits
}

// available reads MemAvailable of /proc/meminfo, in bytes.
func available(meminfo []byte) (int64, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(meminfo)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		return kib << 10, err == nil
	}
	return 0, false
}
