// Package routing provides the networks' child of the agent: it arms the network namespaces of a project's containers
// with nftables rules and listeners, so that links go through proxies (agent/proxy) and cuts stop packets.
//
//	client's namespace                                             server's namespace
//	app ── connect db:5432 ─▶ output/nat: redirect ─▶ listener     input: cuts ─▶ arrivals counted ─▶ db
//	                                                    │                ▲
//	                          output/guard ◀── dial db:5432 (marked) ────┘
//
// Everything is desired state: the Manager knows the links, the cuts and who is out of reach, watches the engine's cgroup
// folder for new containers and each namespace for its addresses, and renders the rules of each namespace from that. A
// namespace is armed before the program in it runs its first instruction. Each namespace's table belongs to a netlink
// socket of this process (flags owner): it vanishes with the process, even on SIGKILL, on kernels from 5.12 on.
//
// A Manager is safe for concurrent use. The package imports only agent and agent/proxy of this module.
package routing
