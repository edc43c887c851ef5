package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/transport"
)

// scraped is a cluster whose nodes have a registry each.
type scraped struct {
	*harness
	registries map[string]*prometheus.Registry
}

func startScraped(t *testing.T, n int, tune func(*cluster.Config)) scraped {
	t.Helper()
	s := scraped{registries: map[string]*prometheus.Registry{}}
	s.harness = startHarness(t, n, func(cfg *cluster.Config) {
		s.registries[cfg.ID] = prometheus.NewRegistry()
		cfg.Metrics = s.registries[cfg.ID]
		if tune != nil {
			tune(cfg)
		}
	})
	return s
}

// families are what a node exports, by name.
func (s scraped) families(id string) map[string]*dto.MetricFamily {
	s.t.Helper()
	gathered, err := s.registries[id].Gather()
	if err != nil {
		s.t.Fatalf("gather from %s: %v", id, err)
	}
	all := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		all[f.GetName()] = f
	}
	return all
}

// sum adds up, over all nodes, what a metric says where it has these labels, "name=value"
// each; of a histogram it is how many values it has.
func (s scraped) sum(name string, labels ...string) (sum float64) {
	s.t.Helper()
	for id := range s.nodes {
		for _, m := range s.families(id)[name].GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			wanted := true
			for _, l := range labels {
				wanted = wanted && has[l]
			}
			if wanted {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// client is one of all nodes.
func (s scraped) client(unary bool) *client.Client {
	s.t.Helper()
	var endpoints []string
	for _, n := range s.nodes {
		endpoints = append(endpoints, n.GRPCAddr())
	}
	c, err := client.New(client.Config{Endpoints: endpoints, Unary: unary, TryTimeout: time.Minute})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// cycle acquires and releases, names times.
func cycle(t *testing.T, c *client.Client, prefix string, names int) {
	t.Helper()
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() {
			svc, name := c.Fork(), fmt.Sprint(prefix, i)
			if info, err := svc.Acquire(ctx, name, "owner", time.Minute); err != nil || info.Status != sema.Acquired {
				t.Errorf("acquire %s: %v %v", name, info.Status, err)
			}
			if err := svc.Release(ctx, name); err != nil {
				t.Errorf("release %s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// want fails if a sum is not as it must be.
func (s scraped) want(want float64, name string, labels ...string) {
	s.t.Helper()
	if got := s.sum(name, labels...); got != want {
		s.t.Errorf("%s{%s} is %v, want %v", name, strings.Join(labels, ","), got, want)
	}
}

// What a client did, and no more, is what the nodes have counted when it has its answers:
// by exchange, by calls of their own, and in the process.
func TestMetricsCountWhatClientsDo(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 3, nil)
	ctx := testContext(t)
	cycle(t, s.client(false), "exchange-", 200)
	s.want(200, "sema_calls_total", "from=client", "method=Acquire", "code=OK")
	s.want(200, "sema_calls_total", "from=client", "method=Release", "code=OK")
	s.want(200, "sema_call_seconds", "from=client", "method=Release")
	cycle(t, s.client(true), "unary-", 50)
	s.want(250, "sema_calls_total", "from=client", "method=Acquire")
	s.want(250, "sema_acquires_total", "from=client", "status=ACQUIRED")
	s.want(250, "sema_grants_total", "to=free")
	s.want(250, "sema_holds_ended_total", "how=released")
	s.want(250, "sema_hold_seconds")
	s.want(0, "sema_holds")

	for i, unary := range []bool{false, true} {
		c := s.client(unary)
		if _, err := c.Get(ctx, "nobody's"); !errors.Is(err, sema.ErrNotFound) {
			t.Fatal(err)
		}
		s.want(float64(i+1), "sema_calls_total", "from=client", "method=Get", "code=NOT_FOUND")
		s.want(0, "sema_calls_total", "from=client", "method=Get", "code=OK")
	}
	cycle(t, s.follower().Client(), "process-", 10)
	s.want(10, "sema_calls_total", "from=process", "method=Acquire", "code=OK")
	s.want(250, "sema_calls_total", "from=client", "method=Acquire")
	if got := s.sum("sema_calls_total", "from=peer", "method=Acquire"); got < 10 {
		t.Errorf("%v acquires came from other nodes, want the 10 of a follower's process among them", got)
	}
	if writes, entries := s.sum("sema_disk_write_seconds", "what=log"), s.sum("sema_entry_commands"); writes < entries || entries < 1 {
		t.Errorf("%v writes of the log for %v entries", writes, entries)
	}
}

// A wait in line whose own time was up is not counted as a fault, however it came in and
// whoever was first to see that the time was up.
func TestMetricsOfWaitsInVain(t *testing.T) {
	t.Parallel()
	for name, unary := range map[string]bool{"exchange": false, "unary": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startScraped(t, 1, nil)
			c := s.client(unary)
			acquire(t, c, "a", "first", time.Minute)
			var waited atomic.Int64 // those that have come to the node in time
			for waited.Load() < 10 {
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
						defer cancel()
						inLine := sync.OnceFunc(func() { waited.Add(1) })
						if _, err := c.Fork().(sema.Waiter).AcquireWait(ctx, "a", "second", time.Minute, func(sema.Place) { inLine() }); err == nil {
							t.Error("it was granted")
						}
					})
				}
				wg.Wait()
			}
			eventually(t, "each wait is counted", func() error {
				if n := s.sum("sema_calls_total", "from=client", "method=Wait", "code=DEADLINE_EXCEEDED"); n < float64(waited.Load()) {
					return fmt.Errorf("%v of %d are", n, waited.Load())
				}
				return nil
			})
			for _, code := range []string{"OUTCOME_UNKNOWN", "ATTEMPT_FINISHED", "CANCELED", "UNKNOWN"} {
				s.want(0, "sema_calls_total", "from=client", "method=Wait", "code="+code)
			}
		})
	}
}

// A program that was built as a release tells its own version.
func TestMetricsTellTheVersion(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 1, func(cfg *cluster.Config) { cfg.Version = "v1.2.3" })
	s.want(1, "sema_build_info", "version=v1.2.3")
}

// A grant that is told twice, because the first answer was lost, is one.
func TestMetricsCountAGrantOnce(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 1, nil)
	b := s.leader().Backend()
	req := transport.AcquireRequest{Name: "a", Owner: "owner", Timeout: time.Minute, Attempt: sema.Attempt{Client: [16]byte{1}, Seq: 1, LowestOpen: 1}}
	for range 3 {
		if info, err := b.Acquire(testContext(t), req); err != nil || info.Status != sema.Acquired {
			t.Fatal(info, err)
		}
		req.Retry = true
	}
	s.want(1, "sema_holds")
	s.want(1, "sema_grants_total", "to=free")
}

// setClock is a machine's clock whose wall clock can be set.
type setClock struct {
	host.Clock
	ahead *atomic.Int64
}

func (c setClock) Wall() time.Time { return c.Clock.Wall().Add(time.Duration(c.ahead.Load())) }

// The lag of cluster time shows that the wall clock was set, forward or back.
func TestMetricsSeeTheWallClockSet(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := startScraped(t, 1, func(cfg *cluster.Config) { cfg.Host.Clock = setClock{host.System().Clock, &ahead} })
	for _, want := range []time.Duration{0, time.Hour, -time.Hour} {
		ahead.Store(int64(want))
		if got := s.sum("sema_cluster_time_lag_seconds"); math.Abs(got-want.Seconds()) > 10 {
			t.Errorf("with the wall clock set by %v the lag is %v s", want, got)
		}
	}
}

// unwritable is a disk on which no snapshot can be begun.
type unwritable struct{ host.Disk }

func (unwritable) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	return nil, fs.ErrPermission
}

// A snapshot that cannot even be begun has failed.
func TestMetricsOfSnapshotsThatCannotBegin(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 1, func(cfg *cluster.Config) {
		cfg.SnapshotInterval, cfg.SnapshotThreshold = 10*time.Millisecond, 16
		cfg.Host.WrapDisk = func(d host.Disk) host.Disk { return unwritable{d} }
	})
	c := s.client(true)
	for i := range 40 {
		acquire(t, c, fmt.Sprint("a", i), "owner", time.Minute)
	}
	eventually(t, "a snapshot has failed", func() error {
		if s.sum("sema_snapshots_total", "result=failed") == 0 {
			return errors.New("none has")
		}
		return nil
	})
	s.want(0, "sema_snapshots_total", "result=ok")
}

// Every way in which a hold can end or pass on is counted as such.
func TestMetricsTellHowHoldsEnd(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 3, nil)
	ctx := testContext(t)
	a, b := s.client(false), s.client(false)
	acquire(t, a, "line", "first", time.Minute)
	waiting := make(chan error, 1)
	go func() {
		_, err := b.AcquireWait(ctx, "line", "second", time.Minute, nil)
		waiting <- err
	}()
	eventually(t, "a ticket is seen", func() error {
		if s.sum("sema_tickets") != 1 || s.sum("sema_open_calls", "from=client") != 1 {
			return fmt.Errorf("%v tickets, %v open calls", s.sum("sema_tickets"), s.sum("sema_open_calls", "from=client"))
		}
		return nil
	})
	s.want(1, "sema_holds")
	if err := a.Release(ctx, "line"); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	s.want(1, "sema_grants_total", "to=line")
	s.want(1, "sema_wait_seconds")
	s.want(0, "sema_tickets")
	s.want(1, "sema_calls_total", "from=client", "method=Wait", "code=OK")

	held := acquire(t, a, "forced", "first", time.Minute)
	if _, err := b.ForceRelease(ctx, "forced", held.Token); err != nil {
		t.Fatal(err)
	}
	s.want(1, "sema_holds_ended_total", "how=forced")

	acquire(t, a, "late", "first", 100*time.Millisecond)
	eventually(t, "an overdue hold is seen", func() error {
		if n := s.sum("sema_overdue_holds"); n != 1 {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
	if info := acquire(t, b, "late", "second", time.Minute); info.Status != sema.ForcedReleased {
		t.Fatal(info.Status)
	}
	s.want(1, "sema_holds_ended_total", "how=expired")
	s.want(1, "sema_acquires_total", "status=FORCED_RELEASED")
}

// What only the leader knows is exported by nobody else, before and after a failover.
func TestMetricsOfTheLeader(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 3, nil)
	onlyLeaders := []string{"sema_holds", "sema_tickets", "sema_overdue_holds", "sema_queue_commands", "sema_queue_limit_commands",
		"sema_cluster_time_seconds", "sema_cluster_time_lag_seconds", "sema_lease_age_seconds"}
	look := func() {
		t.Helper()
		eventually(t, "the leader, and nobody else, exports what it knows", func() error {
			leader := s.leader()
			for id := range s.nodes {
				families := s.families(id)
				for _, name := range onlyLeaders {
					if (families[name] != nil) != (id == leader.ID()) {
						return fmt.Errorf("%s leads, %s exports %s: %v", leader.ID(), id, name, families[name] != nil)
					}
				}
			}
			return nil
		})
	}
	look()
	acquire(t, s.client(false), "a", "owner", time.Minute)
	before := s.sum("sema_leader_changes_total")
	old := s.leader()
	old.HandOver()
	eventually(t, "another leads", func() error {
		if l := s.leading(); l == nil || l == old {
			return errors.New("none does")
		}
		return nil
	})
	look()
	s.want(1, "sema_holds")
	if after := s.sum("sema_leader_changes_total"); after <= before {
		t.Errorf("%v changes of leader were seen, %v before the handover", after, before)
	}
	s.want(1, "sema_raft_state", "state=leader")
}

// A snapshot, its size and its restoring are told.
func TestMetricsOfSnapshots(t *testing.T) {
	t.Parallel()
	s := startScraped(t, 1, func(cfg *cluster.Config) {
		cfg.SnapshotInterval, cfg.SnapshotThreshold = 10*time.Millisecond, 16
	})
	c := s.client(true)
	for i := range 40 { // an entry each
		acquire(t, c, fmt.Sprint("a", i), "owner", time.Minute)
	}
	eventually(t, "a snapshot is taken", func() error {
		if s.sum("sema_snapshots_total", "result=ok") == 0 || s.sum("sema_snapshot_bytes") == 0 {
			return errors.New("none was")
		}
		return nil
	})
	s.close("n1")
	s.start("n1")
	s.want(1, "sema_snapshot_restores_total")
	logs := s.logs.String()
	for _, line := range []string{"snapshot taken", "snapshot restored"} {
		if !strings.Contains(logs, line) {
			t.Errorf("the log does not say %q", line)
		}
	}
}

// Several nodes in a process need a registry each, or a label; who forgets is told, and
// nothing is left behind.
func TestMetricsOfSeveralNodes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := newHarness(t, 2, func(cfg *cluster.Config) { cfg.Metrics = registry })
	h.start("n1")
	if _, err := cluster.Open(context.Background(), h.cfgs["n2"]); err == nil || !strings.Contains(err.Error(), "a registry of its own") {
		t.Fatalf("a second node in the same registry: %v", err)
	}
	h.close("n1")
	if left, err := registry.Gather(); err != nil || len(left) > 0 {
		t.Fatalf("a node that is closed exports %d metrics: %v", len(left), err)
	}
	registry = prometheus.NewRegistry()
	for id, cfg := range h.cfgs {
		cfg.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"node": id}, registry)
		h.cfgs[id] = cfg
		h.start(id)
	}
	h.leader()
	if all, err := registry.Gather(); err != nil || len(all) == 0 {
		t.Fatalf("two nodes with labels: %d metrics, %v", len(all), err)
	}
}
