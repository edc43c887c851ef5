//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/semanode/sema/bench/internal/proc"
	"github.com/semanode/sema/bench/internal/stat"
)

// stateCommand measures what shows only inside the process.
var stateCommand = []string{"test", "-run", "xxx", "-bench", "Stall|Restore", "-benchtime", "3x", "./fsm"}

// state runs the benchmarks of the state machine alone, at a million holds.
func (b *bench) state(ctx context.Context) error {
	root, err := proc.Run(ctx, proc.Spec{Path: "go", Args: []string{"list", "-m", "-f", "{{.Dir}}", "github.com/semanode/sema"}})
	if err != nil {
		return err
	}
	b.say("go %s", strings.Join(stateCommand, " "))
	text, err := proc.Run(ctx, proc.Spec{Path: "go", Args: stateCommand, Dir: root})
	if err != nil {
		return err
	}
	all := parseBenchmarks(text)
	stalls := b.table("Stalls of Apply", "1,000,000 holds, milliseconds", "without a snapshot: p50", "p99", "max", "while one is written: p50", "p99", "max", "processor time, without: p50", "max", "while one is written: p50", "max")
	sizes := b.table("The state machine", "1,000,000 holds", "memory of a hold", "snapshot, with Apply beside it", "its size", "restoring it from disk")
	for _, of := range []struct{ clients, title string }{{"1", "of one client"}, {"1000000", "of as many clients"}} {
		for _, load := range []struct{ name, title string }{{"touch", "touches"}, {"cycle", "releases and acquires"}} {
			m := all["BenchmarkStall/clients="+of.clients+"/"+load.name]
			if m == nil {
				return fmt.Errorf("no benchmark of %s of %s clients in:\n%s", load.name, of.clients, text)
			}
			row := []string{load.title + ", holds " + of.title}
			for _, unit := range []string{"quiet-p50-ms", "quiet-p99-ms", "quiet-max-ms", "snapshot-p50-ms", "snapshot-p99-ms", "snapshot-max-ms",
				"quiet-p50-cpu-ms", "quiet-max-cpu-ms", "snapshot-p50-cpu-ms", "snapshot-max-cpu-ms"} {
				row = append(row, stat.Figure(m[unit]))
			}
			stalls.add(row...)
		}
		m, restore := all["BenchmarkStall/clients="+of.clients+"/touch"], all["BenchmarkRestore/clients="+of.clients]
		sizes.add(of.title, stat.Figure(m["bytes/hold"])+" bytes", stat.Figure(m["snapshot-s"])+" s", stat.Figure(m["snapshot-MB"])+" MB",
			stat.Figure(restore["ns/op"]/1e9)+" s")
	}
	return nil
}

// parseBenchmarks returns the metrics of each benchmark in what go test prints, by unit.
func parseBenchmarks(text string) map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		metrics := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[fields[i+1]] = v
			}
		}
		all[name] = metrics
	}
	return all
}
