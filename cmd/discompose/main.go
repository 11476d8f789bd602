// Command discompose starts a Docker Compose environment, applies faults to it while a workload runs, and judges what
// the system did.
package main

func main() {}
