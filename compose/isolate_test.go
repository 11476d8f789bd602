package compose_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/discompose/discompose/compose"
	"github.com/discompose/discompose/compose/composetest"
)

// updating reports whether golden files are to be written. The flag -update is defined by a package that the SDK links in.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// stat stands for a file system on which folders are called as such.
func stat(path string) (compose.PathInfo, error) {
	switch base := filepath.Base(path); base {
	case "absent":
		return compose.PathInfo{}, fs.ErrNotExist
	case "huge":
		return compose.PathInfo{Mode: fs.ModeDir, Bytes: compose.MaxCopyBytes + 1}, nil
	case "conf.txt":
		return compose.PathInfo{Bytes: 10}, nil
	case "some.sock":
		return compose.PathInfo{Mode: fs.ModeSocket}, nil
	default:
		return compose.PathInfo{Mode: fs.ModeDir, Bytes: 10}, nil
	}
}

func options() compose.IsolateOptions {
	return compose.IsolateOptions{
		Project: "run-1", Run: "r1", Stat: stat, FreePort: func() (int, error) { return 40001, nil },
		Used: func() ([]netip.Prefix, error) { return []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16")}, nil },
	}
}

func TestIsolateGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/isolate/nasty.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := mustLoad(t, compose.LoadOptions{Dir: dir})
	o := options()
	o.Publish = []string{"web:80"}
	changes, err := p.Isolate(o)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&b, c)
	}
	yaml, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(b.String()+"----\n"+string(yaml), dir, "DIR")
	const golden = "testdata/isolate/nasty.golden"
	if updating() {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := p.Isolate(o); err == nil {
		t.Error("a project can be isolated twice")
	}
}

func TestIsolateRefuses(t *testing.T) {
	for _, tc := range []struct{ name, file, what, do string }{
		{"the host's network", "services: {a: {image: x, network_mode: host}}", "network_mode: host", "networks or ports"},
		{"the Docker socket", "services: {a: {image: x, volumes: ['/var/run/docker.sock:/s:ro']}}", "Docker socket", `share = ["bind:/var/run/docker.sock"]`},
		{"the socket's folder", "services: {a: {image: x, volumes: ['/:/host:ro']}}", "Docker socket", `share = ["bind:/"]`},
		{"another socket", "services: {a: {image: x, volumes: ['/x/some.sock:/s']}}", "a socket of the host", `share = ["bind:/x/some.sock"]`},
		{"a huge folder", "services: {a: {image: x, volumes: ['/x/huge:/s']}}", "more than 1 GiB", `share = ["bind:/x/huge"]`},
		{"a folder of the host", "services: {a: {image: x, volumes: ['/etc:/s']}}", "host's /etc writable", "read-only"},
		{"an external network", "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: true}}", "external network n", `share = ["network:n"]`},
		{"the host's LAN", "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {driver: macvlan}}", "macvlan", `share = ["network:n"]`},
		{"a foreign container", "services: {a: {image: x, network_mode: 'container:other'}}", "container other", `share = ["container:other"]`},
		{"a foreign link", "services: {a: {image: x, external_links: [other]}}", "external link other", `share = ["container:other"]`},
		{"a volume driver", "services: {a: {image: x, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: rexray}}", "driver rexray", `share = ["volume:vol"]`},
		{"a network file system", "services: {a: {image: x, volumes: ['vol:/v']}}\nvolumes: {vol: {driver_opts: {type: nfs, device: ':/x'}}}", "nfs", `share = ["volume:vol"]`},
		{
			"an address in words", "services: {a: {image: x, networks: {n: {ipv4_address: 172.30.5.10}}}, b: {image: x, environment: {DB: 'tcp://172.30.5.10:1'}}}\nnetworks: {n: {ipam: {config: [{subnet: 172.30.5.0/24}]}}}",
			"service b names its address 172.30.5.10", "service's name",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": "name: bad\n" + tc.file})})
			before, _ := p.YAML()
			_, err := p.Isolate(options())
			var refused *compose.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.what) || !strings.Contains(refused.Do, tc.do) {
				t.Fatalf("error is %v; want %q and %q", err, tc.what, tc.do)
			}
			if after, _ := p.YAML(); string(after) != string(before) {
				t.Errorf("the project has changed:\n%s", after)
			}
			_, item, ok := strings.Cut(refused.Do, `share = ["`)
			if !ok {
				return
			}
			o := options()
			o.Share = []string{strings.TrimSuffix(item, `"]`)}
			if _, err := p.Isolate(o); err != nil {
				t.Errorf("with share = %v: %v", o.Share, err)
			}
		})
	}
}

func TestIsolateJoinsEveryRefusal(t *testing.T) {
	p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": `
name: bad
services:
  a: {image: x, network_mode: host}
  b: {image: x, volumes: ["/var/run/docker.sock:/s"], networks: [n]}
networks: {n: {external: true}}`})})
	o := options()
	o.Share, o.Publish = []string{"volume:dta", "sock"}, []string{"b", "c:1"}
	_, err := p.Isolate(o)
	for _, want := range []string{"service a", "service b", "network n", `"volume:dta"`, `"sock"`, `"b"`, `"c:1"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

func TestIsolateSharesWhatItIsToldTo(t *testing.T) {
	p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": `
name: mine
services:
  a: {image: x, ports: ["80:80"], volumes: ["data:/d", "./b:/b"], networks: [n]}
networks: {n: {external: true, name: corp}}
volumes: {data: {}}`})})
	o := options()
	o.Share = []string{"volume:data", "bind:./b", "network:corp", "port:a"}
	if _, err := p.Isolate(o); err != nil {
		t.Fatal(err)
	}
	yaml, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: mine_data\n    external: true", "name: corp\n    external: true", `published: "80"`, "/b\n", "io.discompose.run: r1"} {
		if !strings.Contains(string(yaml), want) {
			t.Errorf("%q is not in\n%s", want, yaml)
		}
	}
	if strings.Contains(string(yaml), "bind-") {
		t.Errorf("the shared folder is copied:\n%s", yaml)
	}
}

func TestIsolateKeepsAFreeSubnet(t *testing.T) {
	p := mustLoad(t, compose.LoadOptions{Dir: composetest.Write(t, map[string]string{"compose.yaml": `
name: net
services: {a: {image: x, networks: {n: {ipv4_address: 172.29.5.10}}}}
networks: {n: {ipam: {config: [{subnet: 172.29.5.0/24}]}}}`})})
	changes, err := p.Isolate(options())
	yaml, _ := p.YAML()
	if err != nil || len(changes) != 0 || !strings.Contains(string(yaml), "ipv4_address: 172.29.5.10") {
		t.Errorf("changes %v, %v\n%s", changes, err, yaml)
	}
}
