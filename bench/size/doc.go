//go:build linux

// Size measures what a million holds cost, and writes docs/size.md. In the directory
// bench:
//
//	go run ./size                              # everything, about a quarter of an hour
//	go run ./size -only latency,touch -out ""  # some of it, to stdout
//	go run ./size -holds 10000 -handles 1000 -window 10s -out ""  # a trial
//
// Nodes are processes of semanode with default settings and data on disk; the holds are
// made and kept by clients in this one. What only shows inside a process is measured by
// benchmarks of package fsm, which it runs.
//
// main.go is the command, plan.go the order of measurements, fleet.go a cluster and its
// holds, usage.go what processes use, document.go the page; every other file is one
// measurement.
package main
