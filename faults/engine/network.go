package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/discompose/discompose/faults"
)

var _ faults.Networker = (*Engine)(nil)

// networkLabel is Compose's label of a network: its key in the file.
const networkLabel = "com.docker.compose.network"

// Endpoints lists the networks that a container is in, sorted by the engine's name. Errors: faults.ErrGone,
// faults.ErrUnsupported.
func (e *Engine) Endpoints(ctx context.Context, id string) ([]faults.Endpoint, error) {
	in, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return nil, gone(err)
	}
	if in.ContainerJSONBase == nil || in.State == nil || in.HostConfig == nil || in.NetworkSettings == nil {
		return nil, fmt.Errorf("inspect container %.12s: the engine's answer has no networks", id)
	}
	if m := in.HostConfig.NetworkMode; m.IsHost() || m.IsNone() || m.IsContainer() {
		return nil, fmt.Errorf("%w: the container has no networks of its own (network_mode %s)", faults.ErrUnsupported, m)
	}
	var out []faults.Endpoint
	for _, name := range slices.Sorted(maps.Keys(in.NetworkSettings.Networks)) {
		s := in.NetworkSettings.Networks[name]
		if s == nil || (s.EndpointID == "" && in.State.Running && !in.State.Restarting) {
			continue // a connect that the engine refused leaves an entry behind that is no endpoint
		}
		ep, err := e.endpoint(ctx, in, name, s)
		if err != nil {
			return nil, err
		}
		out = append(out, ep)
	}
	return out, nil
}

func (e *Engine) endpoint(ctx context.Context, in container.InspectResponse, name string, s *network.EndpointSettings) (faults.Endpoint, error) {
	ep := faults.Endpoint{Network: s.NetworkID, Name: name}
	ref := s.NetworkID
	if ref == "" { // a container that was connected while it did not run
		ref = name
	}
	n, err := e.docker.NetworkInspect(ctx, ref, network.InspectOptions{})
	switch {
	case err == nil:
		ep.Network, ep.Key = n.ID, n.Labels[networkLabel]
	case ep.Network == "" || !cerrdefs.IsNotFound(err):
		return ep, fmt.Errorf("inspect network %s: %w", name, err)
	}
	for _, a := range []string{s.IPAddress, s.GlobalIPv6Address} {
		if a != "" {
			ep.Addresses = append(ep.Addresses, a)
		}
	}
	keep := settings(in, s)
	ep.Aliases = slices.Sorted(slices.Values(keep.Aliases))
	if ep.Raw, err = json.Marshal(keep); err != nil {
		return ep, fmt.Errorf("encode endpoint in %s: %w", name, err)
	}
	return ep, nil
}

// settings are those of an endpoint that somebody chose, without what the engine gave it.
func settings(in container.InspectResponse, s *network.EndpointSettings) network.EndpointSettings {
	// An empty IPAMConfig chooses nothing, but the engine tells it from none.
	keep := network.EndpointSettings{Links: s.Links, DriverOpts: s.DriverOpts, GwPriority: s.GwPriority, IPAMConfig: s.IPAMConfig}
	if !derived(s) {
		keep.MacAddress = s.MacAddress
	}
	for _, a := range s.Aliases {
		if len(a) < 12 || !strings.HasPrefix(in.ID, a) {
			keep.Aliases = append(keep.Aliases, a)
		}
	}
	return keep
}

// derived reports whether an endpoint's hardware address is the one that the engine (to version 27) makes of its IPv4
// address, which somebody else may get next. Others were chosen, or drawn at random.
func derived(s *network.EndpointSettings) bool {
	mac, err := net.ParseMAC(s.MacAddress)
	ip := net.ParseIP(s.IPAddress).To4()
	return err == nil && ip != nil && bytes.Equal(mac, append([]byte{0x02, 0x42}, ip...))
}

// Disconnect takes a container out of a network; one that is not in it is fine. Errors: faults.ErrGone.
func (e *Engine) Disconnect(ctx context.Context, id, networkID string) error {
	err := e.docker.NetworkDisconnect(ctx, networkID, id, false)
	if err == nil || ctx.Err() != nil {
		return err
	}
	_, in, ierr := e.in(ctx, id, networkID)
	switch {
	case errors.Is(ierr, faults.ErrGone):
		return ierr
	case ierr == nil && !in:
		return nil
	}
	return err
}

// in finds a container's endpoint in a network.
func (e *Engine) in(ctx context.Context, id, networkID string) (ep faults.Endpoint, in bool, err error) {
	all, err := e.Endpoints(ctx, id)
	if err != nil {
		return ep, false, err
	}
	if i := slices.IndexFunc(all, func(ep faults.Endpoint) bool { return ep.Network == networkID }); i >= 0 {
		return all[i], true, nil
	}
	return ep, false, nil
}

// Connect puts a container back into a network as it was; one that is in it is fine. Errors: faults.ErrGone.
//
// Where it had an address that nobody chose, the engine mostly gives the same one again. Where it does not, it is asked for
// it, which only networks with a configured subnet allow, and which the engine then remembers as chosen. An address that
// cannot be had is done without: a connect that fails leaves the container unable to start again.
func (e *Engine) Connect(ctx context.Context, id string, want faults.Endpoint) error {
	if _, in, err := e.in(ctx, id, want.Network); err != nil || in {
		return err
	}
	var s network.EndpointSettings
	if err := json.Unmarshal(want.Raw, &s); err != nil {
		return fmt.Errorf("decode endpoint in %s: %w", want.Name, err)
	}
	chosen := chooses(s.IPAMConfig)
	err := e.connect(ctx, id, want.Network, s)
	switch {
	case err != nil && (!chosen || ctx.Err() != nil || errors.Is(err, faults.ErrGone)):
		return err
	case err != nil:
		return e.anywhere(ctx, id, want.Network, s, err)
	case chosen:
		return nil
	}
	now, _, err := e.in(ctx, id, want.Network)
	if err != nil || len(now.Addresses) == 0 || len(want.Addresses) == 0 || slices.Equal(now.Addresses, want.Addresses) {
		return err
	}
	if err := e.Disconnect(ctx, id, want.Network); err != nil {
		return err
	}
	s.IPAMConfig = choose(want.Addresses)
	if err := e.connect(ctx, id, want.Network, s); err != nil {
		return e.anywhere(ctx, id, want.Network, s, err)
	}
	return nil
}

// chooses reports whether a configuration asks for an address.
func chooses(c *network.EndpointIPAMConfig) bool {
	return c != nil && (c.IPv4Address != "" || c.IPv6Address != "" || len(c.LinkLocalIPs) > 0)
}

// anywhere connects with whatever address there is, after the engine refused the wanted one for a reason.
func (e *Engine) anywhere(ctx context.Context, id, networkID string, s network.EndpointSettings, reason error) error {
	if s.IPAMConfig != nil {
		s.IPAMConfig = &network.EndpointIPAMConfig{}
	}
	if err := e.connect(ctx, id, networkID, s); err != nil {
		return errors.Join(reason, err)
	}
	return nil
}

func choose(addresses []string) *network.EndpointIPAMConfig {
	c := &network.EndpointIPAMConfig{}
	for _, text := range addresses {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
			c.IPv4Address = text
		} else {
			c.IPv6Address = text
		}
	}
	return c
}

// connect makes one call. "Not found" means the container or the network; only the first is faults.ErrGone.
func (e *Engine) connect(ctx context.Context, id, networkID string, s network.EndpointSettings) error {
	err := e.docker.NetworkConnect(ctx, networkID, id, &s)
	if err != nil && cerrdefs.IsNotFound(err) {
		if _, ierr := e.docker.ContainerInspect(ctx, id); ierr != nil && cerrdefs.IsNotFound(ierr) {
			return gone(ierr)
		}
	}
	return err
}
