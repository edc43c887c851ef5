package fsm_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

const (
	benchBatch = 64   // commands in an entry
	benchRound = 2000 // entries that are made at a time
	// benchStep and benchPrime scatter names over the standing holds.
	benchStep, benchPrime = 7919, 1_000_003
)

var benchSizes = []int{0, 10_000, 1_000_000}

// BenchmarkApply measures Apply, decoding included, per command: cycles of an
// acquire and a release in batches of 64, beside holds that stand.
//
//	go test -bench . -benchmem ./fsm
func BenchmarkApply(b *testing.B) {
	for _, standing := range benchSizes {
		b.Run(fmt.Sprintf("holds=%d", standing), func(b *testing.B) {
			m, token := withHolds(b, standing)
			round := uint64(0)
			benchmarkEntries(b, m, func() (entries []*raft.Log) {
				round++
				entries, token = cycles(b, round, token)
				return entries
			})
		})
	}
}

// BenchmarkTouch measures touches of standing holds, in no order, each by the
// client that holds.
func BenchmarkTouch(b *testing.B) {
	benchmarkStanding(b, func(i int) fsm.Command {
		return fsm.Command{Kind: fsm.Touch, Name: benchName(i), Token: uint64(i + 1), Attempt: sema.Attempt{Client: benchClient(i), LowestOpen: 2}}
	})
}

// BenchmarkQuery measures queries of standing holds, in no order.
func BenchmarkQuery(b *testing.B) {
	benchmarkStanding(b, func(i int) fsm.Command { return fsm.Command{Kind: fsm.Query, Name: benchName(i)} })
}

func benchmarkStanding(b *testing.B, command func(i int) fsm.Command) {
	for _, standing := range benchSizes[1:] {
		b.Run(fmt.Sprintf("holds=%d", standing), func(b *testing.B) {
			m, _ := withHolds(b, standing)
			next := 0
			benchmarkEntries(b, m, func() []*raft.Log {
				entries := make([]*raft.Log, benchRound)
				for e := range entries {
					commands := make([]fsm.Command, benchBatch)
					for i := range commands {
						next = (next + benchStep) % standing
						commands[i] = command(next)
					}
					entries[e] = entryOf(b, fsm.Stamp{Term: 1}, commands...)
				}
				return entries
			})
		})
	}
}

// benchmarkEntries applies entries, of which more makes the next round.
func benchmarkEntries(b *testing.B, m *fsm.Machine, more func() []*raft.Log) {
	var entries []*raft.Log
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		if n%benchRound == 0 {
			b.StopTimer()
			entries = more()
			b.StartTimer()
		}
		for _, r := range m.Apply(entries[n%benchRound]).([]fsm.Result) {
			if r.Err != nil {
				b.Fatal(r)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/command")
}

// BenchmarkSnapshot measures, at a million holds of as many clients: how long
// Snapshot holds up Apply, how long the batch after it takes that has to copy
// what the snapshot shares, writing, reading, and the memory of a hold with its
// client.
func BenchmarkSnapshot(b *testing.B) {
	const standing = 1_000_000
	before := heap()
	m, _ := withHolds(b, standing)
	perHold := float64(heap()-before) / standing
	var stall, batch, write, read time.Duration
	var file []byte
	b.ResetTimer()
	for n := range b.N {
		var touches []fsm.Command
		for i := range fsm.MaxCommands {
			i = (n + i*benchStep) % standing
			touches = append(touches, fsm.Command{Kind: fsm.Touch, Name: benchName(i), Token: uint64(i + 1), Attempt: sema.Attempt{Client: benchClient(i), LowestOpen: 2}})
		}
		entry := entryOf(b, fsm.Stamp{Term: 1}, touches...)
		runtime.GC()
		start := time.Now()
		snapshot := capture(b, m)
		captured := time.Now()
		m.Apply(entry)
		applied := time.Now()
		file = persist(b, snapshot)
		written := time.Now()
		restore(b, file)
		stall, batch, write, read = stall+captured.Sub(start), batch+applied.Sub(captured), write+written.Sub(applied), read+time.Since(written)
	}
	perRun := func(d time.Duration) float64 { return float64(d) / float64(b.N) }
	b.ReportMetric(perRun(stall)/1e3, "stall-µs")
	b.ReportMetric(perRun(batch)/1e3, "next-batch-µs")
	b.ReportMetric(float64(len(file))/perRun(write)*1e3, "persist-MB/s")
	b.ReportMetric(float64(len(file))/perRun(read)*1e3, "restore-MB/s")
	b.ReportMetric(perHold, "bytes/hold")
	runtime.KeepAlive(m)
}

// heap is how many bytes are in use after a collection.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// cycles returns entries of benchBatch acquires and entries that release them,
// in turn, by benchBatch clients, and the last token they grant.
func cycles(b testing.TB, round, token uint64) ([]*raft.Log, uint64) {
	entries := make([]*raft.Log, benchRound)
	for e := 0; e < len(entries); e += 2 {
		var acquires, releases []fsm.Command
		for i := range benchBatch {
			name := benchName(e*benchBatch+i) + ".cycle"
			token++
			seq := round*benchRound + uint64(e)
			attempt := sema.Attempt{Client: benchClient(i), Seq: seq, LowestOpen: seq}
			acquires = append(acquires, fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "bench@host:1", Timeout: 30 * time.Second, Attempt: attempt})
			attempt.Seq, attempt.LowestOpen = 0, seq+1
			releases = append(releases, fsm.Command{Kind: fsm.Release, Name: name, Token: token, Attempt: attempt})
		}
		entries[e], entries[e+1] = entryOf(b, fsm.Stamp{Term: 1}, acquires...), entryOf(b, fsm.Stamp{Term: 1}, releases...)
	}
	return entries, token
}

func benchName(i int) string { return fmt.Sprintf("standing/%09d", i*benchStep%benchPrime) }

func benchClient(i int) (id sema.ClientID) {
	binary.BigEndian.PutUint64(id[:], uint64(i+1)*0x9E3779B97F4A7C15) // scattered, as random ones are
	return id
}

// withHolds returns a machine with n holds standing, each of its own client,
// and the last token.
func withHolds(tb testing.TB, n int) (*fsm.Machine, uint64) {
	tb.Helper()
	m := fsm.New()
	for from := 0; from < n; from += fsm.MaxCommands {
		var commands []fsm.Command
		for i := from; i < min(n, from+fsm.MaxCommands); i++ {
			commands = append(commands, fsm.Command{Kind: fsm.Acquire, Name: benchName(i), Owner: "bench@host:1", Timeout: time.Hour,
				Attempt: sema.Attempt{Client: benchClient(i), Seq: 1, LowestOpen: 1}})
		}
		m.Apply(entryOf(tb, fsm.Stamp{Term: 1}, commands...))
	}
	return m, uint64(n)
}
