package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// containerStat is one container in a snapshot of metrics/*.json, which is a list of these.
type containerStat struct {
	Service          string `json:"service"`
	Number           int    `json:"number"`
	Running          bool   `json:"running"`
	Time             int64  `json:"time"`   // ns since the epoch
	CPUNanos         int64  `json:"cpu_ns"` // since the container started, as are the other counters
	ThrottledPeriods int64  `json:"throttled_periods"`
	MemoryBytes      int64  `json:"memory_bytes"`
	MemoryLimitBytes int64  `json:"memory_limit_bytes"`
	PIDs             int64  `json:"pids"`
	ReceivedBytes    int64  `json:"received_bytes"`
	SentBytes        int64  `json:"sent_bytes"`
}

// snapshot is one file of metrics.
type snapshot struct {
	name  string
	stats []containerStat
}

// snapshots are the metrics that are lists of containers, in the order of time.
func (r *Record) snapshots() []snapshot {
	var out []snapshot
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		s := snapshot{name: name}
		if json.Unmarshal(r.Metrics[name], &s.stats) == nil && len(s.stats) > 0 { // another shape is kept in the file alone
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b snapshot) int { return cmp.Compare(a.stats[0].Time, b.stats[0].Time) })
	return out
}

// label names the container in a table: its service, with the number where it is not the first.
func (c containerStat) label() string {
	if c.Number > 1 {
		return fmt.Sprintf("%s[%d]", c.Service, c.Number)
	}
	return c.Service
}

// metrics shows what each container had used at each snapshot.
func (d *doc) metrics() {
	t := newTable("service", "snapshot", ">CPU time", ">throttled periods", ">memory", ">of limit", ">processes", ">received", ">sent")
	names := map[string]bool{}
	snapshots := d.r.snapshots()
	for _, s := range snapshots {
		for _, c := range s.stats {
			names[c.label()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, s := range snapshots {
			for _, c := range s.stats {
				if c.label() == name {
					t.stat(s.name, c)
				}
			}
		}
	}
	if len(t.rows) > 0 {
		d.section("Containers")
		d.table(t)
	}
}

// stat adds the row of one container at one snapshot.
func (t *table) stat(snapshot string, c containerStat) {
	if !c.Running {
		t.row(prose(c.label()), prose(snapshot), "not running")
		return
	}
	limit := none
	if c.MemoryLimitBytes > 0 {
		limit = bytesText(c.MemoryLimitBytes)
	}
	t.row(prose(c.label()), prose(snapshot), length(c.CPUNanos), count(c.ThrottledPeriods), bytesText(c.MemoryBytes), limit,
		count(c.PIDs), bytesText(c.ReceivedBytes), bytesText(c.SentBytes))
}
