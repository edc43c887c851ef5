package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

var benchLines = []int{10, 1_000, 10_000}

// benchLine is a semaphore with a line, as those who stand in it see it.
type benchLine struct {
	m       *fsm.Machine
	name    string
	token   uint64   // of the holder
	turn    int      // the holder
	attempt []uint64 // each client's last
}

// withLine returns a line of n that wait, behind one that holds.
func withLine(tb testing.TB, n int) *benchLine {
	tb.Helper()
	m := fsm.New()
	l := &benchLine{m: m, name: "line", token: 1, attempt: make([]uint64, n+1)}
	for from := 0; from <= n; from += benchBatch {
		var commands []fsm.Command
		for i := from; i <= min(n, from+benchBatch-1); i++ {
			commands = append(commands, l.join(i))
		}
		apply(tb, m, entryOf(tb, fsm.Stamp{Term: 1}, commands...))
	}
	if got := m.Look(l.name); got.Token != l.token || got.Info.Waiting != n {
		tb.Fatalf("%d in line behind token %d, want %d behind %d", got.Info.Waiting, got.Token, n, l.token)
	}
	return l
}

// join is client i's next acquire. It has the answers of those before.
func (l *benchLine) join(i int) fsm.Command {
	l.attempt[i]++
	return fsm.Command{Kind: fsm.Acquire, Name: l.name, Owner: "bench@host:1", Timeout: 30 * time.Second, Wait: true,
		Attempt: sema.Attempt{Client: benchClient(i), Seq: l.attempt[i], LowestOpen: l.attempt[i]}}
}

// handOver is the holder's release, which grants to the head of the line, and its
// next acquire.
func (l *benchLine) handOver() []fsm.Command {
	holder := l.turn
	release := fsm.Command{Kind: fsm.Release, Name: l.name, Token: l.token, Attempt: sema.Attempt{Client: benchClient(holder), LowestOpen: l.attempt[holder] + 1}}
	l.token++
	l.turn = (l.turn + 1) % len(l.attempt)
	return []fsm.Command{release, l.join(holder)}
}

// comeAgain is a cancellation of client i, who does not hold, and its next acquire.
func (l *benchLine) comeAgain(i int) []fsm.Command {
	attempt := sema.Attempt{Client: benchClient(i), Seq: l.attempt[i], LowestOpen: l.attempt[i]}
	return []fsm.Command{{Kind: fsm.Release, Name: l.name, Attempt: attempt}, l.join(i)}
}

// BenchmarkLineHandOver measures a semaphore that goes round: the holder releases,
// which grants to the head of the line, and joins its end. Nobody in between is
// looked at, so a longer line costs no more than as many clients and tickets in
// other lines do.
//
//	go test -run '^$' -bench Line -benchmem ./fsm
func BenchmarkLineHandOver(b *testing.B) {
	for _, waiting := range benchLines {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			l := withLine(b, waiting)
			benchmarkLine(b, l, l.handOver)
		})
	}
}

// BenchmarkLineCancel measures who leaves the line from anywhere in it, and comes
// again.
func BenchmarkLineCancel(b *testing.B) {
	for _, waiting := range benchLines {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			l, dice := withLine(b, waiting), rand.New(rand.NewPCG(1, 2))
			benchmarkLine(b, l, func() []fsm.Command { return l.comeAgain(1 + dice.IntN(waiting)) }) // 0 holds
		})
	}
}

// benchmarkLine applies pairs of commands that leave the line as long as it was.
func benchmarkLine(b *testing.B, l *benchLine, pair func() []fsm.Command) {
	waiting := l.m.Look(l.name).Info.Waiting
	benchmarkEntries(b, l.m, func() []*raft.Log { return pairs(b, benchRound, pair) })
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch/2), "ns/pair")
	if got := l.m.Look(l.name).Info.Waiting; got != waiting {
		b.Fatalf("%d in line, before %d: the benchmark shows nothing", got, waiting)
	}
}

// pairs returns n entries of pairs of commands.
func pairs(tb testing.TB, n int, pair func() []fsm.Command) []*raft.Log {
	entries := make([]*raft.Log, n)
	for e := range entries {
		var commands []fsm.Command
		for len(commands) < benchBatch {
			commands = append(commands, pair()...)
		}
		entries[e] = entryOf(tb, fsm.Stamp{Term: 1}, commands...)
	}
	return entries
}

// TestLineAllocates: a command that moves a line allocates what it keeps, its text
// and its answer, and nothing for those who wait.
func TestLineAllocates(t *testing.T) {
	const runs, most = 200, 4 * benchBatch
	dice := rand.New(rand.NewPCG(1, 2))
	for what, pair := range map[string]func(*benchLine) []fsm.Command{
		"hand-overs":    (*benchLine).handOver,
		"cancellations": func(l *benchLine) []fsm.Command { return l.comeAgain(1 + dice.IntN(len(l.attempt)-1)) },
	} {
		for _, waiting := range benchLines {
			l := withLine(t, waiting)
			entries, i := pairs(t, runs+1, func() []fsm.Command { return pair(l) }), 0
			got := testing.AllocsPerRun(runs, func() {
				apply(t, l.m, entries[i])
				i++
			})
			if got > most {
				t.Errorf("%d waiting, an entry of %d %s: %v allocations, want at most %d", waiting, benchBatch, what, got, most)
			}
			if got := l.m.Look(l.name).Info.Waiting; got != waiting {
				t.Errorf("%d in line, before %d: the test shows nothing", got, waiting)
			}
		}
	}
}

// BenchmarkLineMemory measures what a ticket takes in the machine and in a snapshot,
// and what its client takes besides.
func BenchmarkLineMemory(b *testing.B) {
	for _, waiting := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			per := func(more, less uint64) float64 { return (float64(more) - float64(less)) / float64(waiting) }
			var ticket, client, stored float64
			for range b.N {
				empty := heap()
				known := withLine(b, 0)
				hear(b, known.m, waiting)
				clients := heap()
				lined := withLine(b, waiting)
				client = per(clients, empty)
				ticket = per(heap(), clients) - client
				stored = per(uint64(len(snapshotOf(b, lined.m))), uint64(len(snapshotOf(b, known.m))))
				runtime.KeepAlive(known)
				runtime.KeepAlive(lined)
			}
			b.ReportMetric(ticket, "bytes/ticket")
			b.ReportMetric(client, "bytes/client")
			b.ReportMetric(stored, "snapshot-bytes/ticket")
		})
	}
}

// hear makes a machine hear of n clients.
func hear(tb testing.TB, m *fsm.Machine, n int) {
	for from := 0; from < n; from += benchBatch {
		var touches []fsm.Command
		for i := from; i < min(n, from+benchBatch); i++ {
			touches = append(touches, fsm.Command{Kind: fsm.Touch, Name: "none", Attempt: sema.Attempt{Client: benchClient(i), LowestOpen: 2}})
		}
		apply(tb, m, entryOf(tb, fsm.Stamp{Term: 1}, touches...))
	}
}
