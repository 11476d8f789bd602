// Command discompose starts a Docker Compose environment, applies faults to it while a workload runs, and judges what
// the system did.
package main

import (
	"context"
	"os"

	"github.com/discompose/discompose/internal/cli"
)

func main() {
	os.Exit(int(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})))
}
