package routing

import "testing"

func TestProxyPortsAreNotThoseOfPrograms(t *testing.T) {
	for _, c := range []struct {
		name, ephemeral string
		first, last     int
	}{
		{"the kernel's default", "32768\t60999\n", 61000, 65535},
		{"all the upper ports are programs'", "32768 65535", 20000, 32767},
		{"few are left above", "30000 65000", 20000, 29999},
		{"nothing can be read", "", 61000, 65535},
		{"every port is programs'", "1024 65535", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := portsOf(c.ephemeral)
			if c.first == 0 {
				if got := p.take(); got != 0 {
					t.Errorf("took %d, want the kernel's choice", got)
				}
				return
			}
			seen := map[int]bool{}
			for range c.last - c.first + 1 {
				port := p.take()
				if port < c.first || port > c.last || seen[port] {
					t.Fatalf("took %d, want each of %d to %d once", port, c.first, c.last)
				}
				seen[port] = true
			}
			if got := p.take(); got != c.first {
				t.Errorf("after the last port came %d, want %d", got, c.first)
			}
		})
	}
}
