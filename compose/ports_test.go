package compose_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

func TestPortsAreWhatAnyServiceTells(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: w
services:
  kafka:
    image: x
    ports: ["29092:29092", "9000-9002:80", "127.0.0.1::81", "53:53/udp"]
  api:
    image: x
    environment: {BROKERS: "kafka:9092", DB: "postgres://db/x"}
  db: {image: x}
`})
	p := mustLoad(t, compose.LoadOptions{Dir: dir})
	got := map[string][]int{}
	for _, s := range p.Services() {
		got[s.Name] = s.Ports
	}
	// db tells no port at all: one that others name would make the rest of its ports look unlikely.
	if diff := cmp.Diff(map[string][]int{"api": nil, "db": nil, "kafka": {53, 80, 81, 9092, 29092}}, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	kafka, _ := p.Service("kafka")
	if diff := cmp.Diff(map[int]int{29092: 29092, 9000: 80, 9001: 80, 9002: 80}, kafka.HostPorts); diff != "" {
		t.Errorf("host ports (-want +got):\n%s", diff)
	}
}

func TestAPortIsUDPOnlyIfItTakesNoTCP(t *testing.T) {
	dir := composetest.Write(t, map[string]string{"compose.yaml": `
name: w
services:
  dns:
    image: x
    ports: ["53:53/tcp", "53:53/udp", "54:54/udp"]
    expose: ["60", "60/udp", "61-62/udp", "62"]
`})
	dns, ok := mustLoad(t, compose.LoadOptions{Dir: dir}).Service("dns")
	if !ok || !slices.Equal(dns.Ports, []int{53, 54, 60, 61, 62}) || !slices.Equal(dns.UDPPorts, []int{54, 61}) {
		t.Errorf("ports %v, of these UDP alone %v", dns.Ports, dns.UDPPorts)
	}
}
