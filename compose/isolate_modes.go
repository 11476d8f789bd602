package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// riskyCaps are capabilities that reach beyond the container.
var riskyCaps = []string{"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_TIME", "SYS_PTRACE", "SYS_RAWIO", "NET_ADMIN", "MKNOD"} //nolint:gochecknoglobals // a constant list

// modes refuses what cannot be isolated and mentions what isolation does not cover.
func (i *isolation) modes(s *types.ServiceConfig) {
	item := "service " + s.Name
	if s.NetworkMode == "host" {
		i.refuse(item, "network_mode: host uses the engine host's own network, so its ports would collide with the user's stack and its traffic cannot be routed",
			"give the service networks or ports instead")
	}
	if s.Provider != nil {
		i.refuse(item, "it is run by the provider "+s.Provider.Type+", outside the engine", "replace it by a service with an image")
	}
	if len(s.Models) > 0 {
		i.refuse(item, "models are run by a plugin outside the project", "replace them by a service with an image")
	}
	why := "isolation does not cover it: the service can reach beyond the run"
	keeps := func(what string) { i.change(item, what+" is kept", why) }
	if s.Privileged {
		keeps("privileged: true")
	}
	for _, m := range []struct{ key, value string }{
		{"pid", s.Pid}, {"ipc", s.Ipc}, {"uts", s.Uts}, {"userns_mode", s.UserNSMode}, {"cgroup", s.Cgroup},
	} {
		if m.value == "host" {
			keeps(m.key + ": host")
		}
	}
	for _, c := range s.CapAdd {
		if slices.Contains(riskyCaps, strings.TrimPrefix(strings.ToUpper(c), "CAP_")) {
			keeps("cap_add: " + c)
		}
	}
	for _, d := range s.Devices {
		keeps("device " + d.Source)
	}
	for _, host := range slices.Sorted(maps.Keys(s.ExtraHosts)) {
		if slices.Contains(s.ExtraHosts[host], "host-gateway") {
			i.change(item, "extra_hosts "+host+" leads to the engine's host, as in the file", "isolation does not cover it: what listens there is not the run's")
		}
	}
}

// localLogs are the logging drivers that keep a log on the engine's host, for the report to read.
var localLogs = []string{"", "json-file", "local", "journald"} //nolint:gochecknoglobals // a constant list

// logging keeps the logs of a run with the run: those of another driver would go to where the user's own stack logs, or
// nowhere.
func (i *isolation) logging(s *types.ServiceConfig) {
	driver := s.LogDriver
	if s.Logging != nil && s.Logging.Driver != "" {
		driver = s.Logging.Driver
	}
	if slices.Contains(localLogs, driver) {
		return
	}
	if i.shared("logging", s.Name) {
		i.change("service "+s.Name, "its logs go to "+driver, "the scenario shares it")
		return
	}
	s.LogDriver, s.LogOpt = "", nil
	s.Logging = &types.LoggingConfig{Driver: "json-file"}
	i.change("service "+s.Name, "its logs stay with the engine instead of going to "+driver, "a run does not write to logs that are not its own, and its report shows them")
}
