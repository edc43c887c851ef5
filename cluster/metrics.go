package cluster

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/tally"
	"github.com/semanode/sema/transport"
)

// metrics are a node's meters and state as Prometheus reads them: everything is looked
// at when it is asked for, in O(1) but for the open exchanges, each of which is looked
// at. Nothing waits for a disk, and the state machine is locked for two lengths and its level.
//
// A gauge of what only the leader knows, or what is the same on all nodes, is there on
// the leader only: so that a sum over the nodes is right. Counters are each node's own:
// one that led for a while goes on telling what it counted then.
type metrics struct{ node *Node }

var _ prometheus.Collector = metrics{}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sema_"+name, help, labels, nil)
}

// The metrics of every node; docs/metrics.md is made from them.
var (
	descBuild = describe("build_info", "What runs here; always 1.", "version", "go")

	descCalls     = describe("calls_total", "Calls that were answered, by who called (client, peer: passed on by another node, process: the program that embeds the node) and the code they ended with. A refusal such as OWNED_BY_SOMEONE_ELSE is OK.", "from", "method", "code")
	descCallTook  = describe("call_seconds", "Time from reading a call to its answer.", "from", "method")
	descAcquires  = describe("acquires_total", "Acquires, and waits in line, that were answered, by status.", "from", "status")
	descOpenCalls = describe("open_calls", "Calls that are not answered yet, those that wait in line among them.", "from")
	descExchanges = describe("open_exchanges", "Streams that carry the calls of a client, or of a node that passes them on.", "from")

	descGrants      = describe("grants_total", "Holds that were granted: to who came while the semaphore was free, or to the head of its line.", "to")
	descEnded       = describe("holds_ended_total", "Holds that ended: released by their owner, expired when somebody waited or asked, swept after the retention time, forced by an administrator, undone because the owner was gone before it was told.", "how")
	descWaited      = describe("wait_seconds", "Time in line until the grant, by the wall clock.")
	descHeld        = describe("hold_seconds", "Time from the grant of a hold to its end, by the wall clock.")
	descEntrySize   = describe("entry_commands", "Commands in each log entry that this node proposed.")
	descEntryTook   = describe("entry_seconds", "Time from proposing a log entry to its answers.")
	descOverloaded  = describe("overloaded_total", "Commands that were refused because the proposer's queue was full.")
	descDisk        = describe("disk_write_seconds", "Time to write and sync: entries of the log, or term and vote.", "what")
	descDiskSlow    = describe("disk_slow_operations", "Disk operations that have been under way for more than a tenth of the watchdog's limit.")
	descDiskBytes   = describe("log_store_bytes", "Size of the log with term and vote on disk, looked at every 15 s.")
	descSnapshots   = describe("snapshots_total", "Snapshots that this node has taken, by result.", "result")
	descSnapshot    = describe("snapshot_bytes", "Size of the last snapshot that this node has taken.")
	descSnapshotFor = describe("snapshot_seconds", "Time that writing the last snapshot took, beside serving.")
	descRestores    = describe("snapshot_restores_total", "Snapshots that this node has restored, at its start or from another.")

	descState     = describe("raft_state", "1 for the state that the node is in.", "state")
	descTerm      = describe("raft_term", "Current term.")
	descCommit    = describe("raft_commit_index", "Last entry that is known to be committed.")
	descApplied   = describe("raft_applied_index", "Last entry that was applied.")
	descLevel     = describe("log_level", "Level of the log: what all members knew of when it was decided. Below 2, limits of holds and tickets do not count yet.")
	descContact   = describe("raft_last_contact_seconds", "Time since the leader was heard; 0 on the leader.")
	descChanges   = describe("leader_changes_total", "Leaders that this node has seen come.")
	descHasLeader = describe("has_leader", "1 if the node knows a leader.")
	descReady     = describe("ready", "1 if the node should be sent calls, as /readyz says.")

	descHolds       = describe("holds", "Semaphores that are held.")
	descTickets     = describe("tickets", "Places in all lines.")
	descOverdue     = describe("overdue_holds", "Holds whose deadline has passed and that nobody has asked for, as counted every second or, with many holds, less often: at most one hundredth of the time goes into it.")
	descQueue       = describe("queue_commands", "Commands that wait in the proposer's queue.")
	descQueueMax    = describe("queue_limit_commands", "Beyond so many, commands are refused.")
	descClusterTime = describe("cluster_time_seconds", "Cluster time: it passes while there is a leader.")
	descClockLag    = describe("cluster_time_lag_seconds", "By how much the wall clock has gone on further than cluster time in this term of office: the machine was suspended, or the wall clock was set.")
	descLease       = describe("lease_age_seconds", "Time since a quorum answered something; above the lease, refusals ask the quorum first. It grows while nobody asks for anything.")
)

// register makes the node's metrics known to its registry.
func (n *Node) register() error {
	if n.cfg.Metrics == nil {
		return nil
	}
	if err := n.cfg.Metrics.Register(metrics{n}); err != nil {
		return fmt.Errorf("metrics: %w; give each node of a process a registry of its own, or wrap it with a label: prometheus.WrapRegistererWith", err)
	}
	n.registered = true
	return nil
}

func (n *Node) unregister() {
	if n.registered {
		n.cfg.Metrics.Unregister(metrics{n})
	}
}

// Describe implements [prometheus.Collector].
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBuild, descCalls, descCallTook, descAcquires, descOpenCalls, descExchanges,
		descGrants, descEnded, descWaited, descHeld, descEntrySize, descEntryTook, descOverloaded, descDisk, descDiskSlow, descDiskBytes,
		descSnapshots, descSnapshot, descSnapshotFor, descRestores, descState, descTerm, descCommit, descApplied, descLevel, descContact, descChanges,
		descHasLeader, descReady, descCertificate, descHolds, descTickets, descOverdue, descQueue, descQueueMax, descClusterTime, descClockLag, descLease} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	out := sink{ch}
	out.gauge(descBuild, 1, cmp.Or(m.node.cfg.Version, buildVersion()), runtime.Version())
	out.calls("client", m.node.meters.clients)
	out.calls("peer", m.node.meters.peers)
	out.calls("process", m.node.meters.within)
	m.work(out)
	m.disk(out)
	m.raft(out)
	m.certificates(out)
	if o := m.node.office.Load(); o != nil {
		m.leader(out, o)
	}
}

// work is what the entries of this node came to.
func (m metrics) work(out sink) {
	t := m.node.meters
	out.counter(descGrants, t.free.Load(), "free")
	out.counter(descGrants, t.handedOver.Load(), "line")
	for how := range t.ended {
		out.counter(descEnded, t.ended[how].Load(), endingNames[how])
	}
	out.seconds(descWaited, t.waited)
	out.seconds(descHeld, t.held)
	out.histogram(descEntrySize, t.entryCommands, 1)
	out.seconds(descEntryTook, t.entryTook)
	out.counter(descOverloaded, t.overloaded.Load())
}

func (m metrics) disk(out sink) {
	t := m.node.meters
	out.seconds(descDisk, t.logWrites, "log")
	out.seconds(descDisk, t.termWrites, "term")
	out.gauge(descDiskSlow, float64(m.node.store.slow.Load()))
	if bytes := t.diskBytes.Load(); bytes >= 0 {
		out.gauge(descDiskBytes, float64(bytes))
	}
	s := &t.snapshots
	out.counter(descSnapshots, s.taken.Load(), "ok")
	out.counter(descSnapshots, s.failed.Load(), "failed")
	out.gauge(descSnapshot, float64(s.bytes.Load()))
	out.gauge(descSnapshotFor, time.Duration(s.took.Load()).Seconds())
	out.counter(descRestores, s.restored.Load())
}

func (m metrics) raft(out sink) {
	r := m.node.raft
	state := r.State()
	for s := raft.Follower; s <= raft.Shutdown; s++ {
		out.gauge(descState, oneIf(s == state), stateName(s))
	}
	out.gauge(descTerm, float64(r.CurrentTerm()))
	out.gauge(descCommit, float64(r.CommitIndex()))
	out.gauge(descApplied, float64(r.AppliedIndex()))
	out.gauge(descLevel, float64(m.node.machine.Level()))
	out.gauge(descContact, m.node.sinceContact().Seconds())
	out.counter(descChanges, m.node.meters.leaderChanges.Load())
	leader, _ := m.node.watcher.get()
	out.gauge(descHasLeader, oneIf(leader.ID != ""))
	out.gauge(descReady, oneIf(len(m.node.Unready()) == 0))
}

// leader is what is there on the leader only.
func (m metrics) leader(out sink, o *office) {
	counts := m.node.machine.Counts()
	out.gauge(descHolds, float64(counts.Holds))
	out.gauge(descTickets, float64(counts.Tickets))
	if m.node.meters.overdueCounted.Load() >= int64(o.clock.start) {
		out.gauge(descOverdue, float64(m.node.meters.overdue.Load()))
	}
	out.gauge(descQueue, float64(o.queued.Load()))
	out.gauge(descQueueMax, queueLength)
	now := o.clock.now()
	out.gauge(descClusterTime, time.Duration(now).Seconds())
	out.gauge(descClockLag, o.lag().Seconds())
	age := m.node.cfg.Host.Clock.Monotonic() - time.Duration(o.lease.confirmed.Load())
	out.gauge(descLease, age.Seconds())
}

// lag is by how much the wall clock has gone on further than cluster time since the
// office began.
func (o *office) lag() time.Duration {
	return o.node.cfg.Host.Clock.Wall().Sub(o.began) - o.clock.elapsed()
}

// sink gives what was counted its names.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) seconds(d *prometheus.Desc, h *tally.Histogram, labels ...string) {
	s.histogram(d, h, float64(time.Second), labels...)
}

func (s sink) histogram(d *prometheus.Desc, h *tally.Histogram, unit float64, labels ...string) {
	s.snapshot(d, h.Read(), unit, labels...)
}

func (s sink) snapshot(d *prometheus.Desc, read tally.Snapshot, unit float64, labels ...string) {
	buckets := make(map[float64]uint64, len(read.Upto))
	for bound, n := range read.Upto {
		buckets[float64(bound)/unit] = n
	}
	s.ch <- prometheus.MustNewConstHistogram(d, read.Count, read.Sum/unit, buckets, labels...)
}

func (s sink) calls(from string, c *transport.Calls) {
	for _, m := range c.Read() {
		for code, n := range m.Codes {
			s.counter(descCalls, n, from, m.Method, code)
		}
		s.snapshot(descCallTook, m.Took, float64(time.Second), from, m.Method)
	}
	for status := sema.Acquired; status <= sema.ForcedReleased; status++ {
		s.counter(descAcquires, c.Acquires(status), from, status.String())
	}
	calls, exchanges := c.Open()
	s.gauge(descOpenCalls, float64(calls), from)
	s.gauge(descExchanges, float64(exchanges), from)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// buildVersion is that of this module, as the Go tool recorded it.
func buildVersion() string {
	const module = "github.com/semanode/sema"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	return "(devel)"
}

// census counts the overdue holds until the office ends, a page at a time, and takes at
// most a hundredth of the time: the heap of deadlines does not know who was touched.
func (o *office) census() {
	m, clock := o.node.meters, o.node.cfg.Host.Clock
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-pause.C:
		}
		began, overdue := clock.Monotonic(), int64(0)
		for next, more := "", true; more && o.ctx.Err() == nil; more = next != "" {
			now := o.clock.now()
			next = o.node.machine.Deadlines(next, expiryPage, func(d fsm.Deadline) {
				if d.At <= now {
					overdue++
				}
			})
		}
		m.overdue.Store(overdue)
		m.overdueCounted.Store(int64(clock.Monotonic()))
		pause.Reset(max(time.Second, 100*(clock.Monotonic()-began)))
	}
}
