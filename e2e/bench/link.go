package main

import "context"

// The ways from the load to its server.
const (
	wayDirect    = "direct"
	wayOurs      = "idle link"
	wayToxiproxy = "Toxiproxy"
)

// linkNumbers is what the lab has measured.
type linkNumbers struct {
	Spaces bool                         `json:"spaces"` // over a veth pair between two network namespaces
	Ways   map[string]map[string]series `json:"ways"`   // by quantity, by way: bytes per second, or microseconds
	// From the call of AddToxic, or RemoveToxic, to its effect on bytes, and to its return, in ms.
	Added, AddCall, Removed, RemoveCall series
}

var _ context.Context
