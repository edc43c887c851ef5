//go:build unix

// Bench measures Sema and its peers under the same load, one after the other on the
// same machine, and writes docs/benchmarks.md. In its directory:
//
//	go run .                                    # everything, about half an hour
//	go run . -only sema,etcd -workloads handoff # some of it
//	go run . -duration 1s -rounds 1 -failover 0 -out ""  # a trial, to stdout
//	go run . -render                            # the document again, of benchmarks.json
//
// Peers are etcd (the same code as the program, in processes of this binary), Redis
// and PostgreSQL; those that are not installed are left out, which the document says.
// On Debian: apt-get install redis-server postgresql.
//
// # How it measures
//
// Each measurement belongs to a workload, a number of workers and a round. Within a
// round the peers take turns; a turn starts the peer's processes with empty
// directories, measures it in each way that its client can be set up, and ends them. So never
// two peers run at once, and what else the machine does meets all of them alike.
// Tables show medians over rounds, and of the ways to set up a client the best one
// for that cell. Ratios are taken round by round.
//
// The load is that of package internal/load, which semanode bench uses, too.
//
// # What it leaves behind
//
// The document with its drawings and the measurements as JSON. Every process that it
// starts is in a group of its own, which it kills at the end, on errors and when it is
// interrupted; on Linux the kernel does if it is killed itself. Then the data stays in
// the temporary directory.
//
// # Files
//
// main.go and options.go are the command, plan.go the order of measurements, turn.go one of
// them, counters.go what is counted besides, failover.go the failovers, benchmarks.md.tmpl
// the text around the figures.
// Package peer has the peers, proc their processes, report the tables, plot the drawings,
// stat the statistics, host the machine.
package main
