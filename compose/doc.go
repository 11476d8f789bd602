// Package compose provides the environment layer: it loads Compose projects, isolates them from everything that is not the
// run's, starts and observes them, and removes exactly what a run has made.
//
// It embeds Docker's Compose SDK (github.com/docker/compose/v5), so behaviour equals the user's own `docker compose`;
// the SDK's types stay inside this package. Everything besides creating and starting goes through
// github.com/docker/docker/client on the same endpoint, which Connect resolves once.
//
//	Connect ─► Engine ─► Environment(project, run) ─► Preflight ─► Up ─► … ─► SaveLogs ─► Down
//	Load ─► Project ─► Isolate ─┘
//
// Engine and Environment are safe for concurrent use, except that Preflight, Up and Start of one Environment run one
// after the other. A Project is not: Isolate and Preflight change it. The package imports only internal/units of this module.
package compose

// LabelRun is on every container, network and volume of a run; its value is the run's id.
const LabelRun = "io.discompose.run"

// LabelRole names what a container of a run is besides a service: "agent" or "client".
const LabelRole = "io.discompose.role"

// LabelOneShot with the value "true" on a service says that it ends: exit 0 is its ready state.
const LabelOneShot = "io.discompose.oneshot"

// LabelVolumes on a container of a run lists, separated by commas, volumes that go with it although it has them by their
// names: a fault made it in place of one that had them without a name.
const LabelVolumes = "io.discompose.volumes"
