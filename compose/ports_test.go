package compose_test

import (
	"slices"
	"testing"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

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
