package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// client is one over the network that knows all running nodes.
func (h *harness) client() *client.Client {
	h.t.Helper()
	var endpoints []string
	for _, n := range h.nodes {
		endpoints = append(endpoints, n.GRPCAddr())
	}
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

func saved(t testing.TB, c *client.Client) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var file bytes.Buffer
	if err := c.Save(ctx, transport.SaveRequest{}, &file); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// readInto returns what a backup has, as a machine.
func readInto(t testing.TB, file []byte) (*fsm.Machine, backup.Summary) {
	t.Helper()
	m := fsm.New()
	s, err := cluster.ReadBackup(bytes.NewReader(file), m)
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

// history is what clients asked and were answered.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []*op
}

// op is an acquire or a release that was answered, or whose answer is not known.
type op struct {
	release      bool
	name         string
	token        uint64 // 0: of an acquire whose answer is not known
	begin, end   time.Duration
	known, worse bool // worse: it was refused
}

func (h *history) begin(name string, release bool, token uint64) *op {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &op{name: name, release: release, token: token, begin: time.Since(h.start)}
	h.ops = append(h.ops, o)
	return o
}

func (h *history) end(o *op, token uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.end = time.Since(h.start); err == nil {
		o.known, o.token = true, token
	}
}

// work acquires and releases names until ctx ends, and keeps some. For every other one
// it waits in line with others, so that holds are handed over.
func (h *history) work(ctx context.Context, svc sema.Waiter, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		name, shared := fmt.Sprintf("own/%d/%d", worker, i), i%2 == 0
		if shared {
			name = fmt.Sprintf("shared/%d", i%8)
		}
		acquired := h.begin(name, false, 0)
		var info sema.Info
		var err error
		if shared {
			info, err = svc.AcquireWait(ctx, name, "worker", time.Hour, nil)
		} else {
			info, err = svc.Acquire(ctx, name, "worker", time.Hour)
		}
		if err == nil && info.Status != sema.Acquired {
			acquired.worse = true
		}
		h.end(acquired, info.Token, err)
		if err != nil || acquired.worse || !shared && i%3 == 1 {
			continue
		}
		released := h.begin(name, true, info.Token)
		h.end(released, info.Token, svc.Release(ctx, name))
	}
}

// explain returns why no moment of the history has this state: what is in it must be
// closed towards the past. Tokens order all acquires, so which are in it is known; a
// release is in it if its acquire is, and its hold is not.
func (h *history) explain(m *fsm.Machine, saveBegins, saveEnds time.Duration) (faults []string, acquires, releases int) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	last := m.Facts().LastToken
	in := func(o *op) bool {
		if o.token > last {
			return false
		}
		view := m.Look(o.name)
		return !o.release || !view.Held || view.Token != o.token
	}
	granted, released := map[uint64]string{}, map[uint64]bool{}
	latest := time.Duration(-1) // when the last of those began that are in it
	for _, o := range h.ops {
		if o.worse || !o.known {
			released[o.token] = released[o.token] || o.release
			continue
		}
		if o.release {
			released[o.token] = true
		} else {
			granted[o.token] = o.name
		}
		if in(o) {
			latest = max(latest, o.begin)
			if o.begin > saveEnds {
				fault("%+v began after the backup was taken and is in it", *o)
			}
			if o.release {
				releases++
			} else {
				acquires++
			}
		}
	}
	for _, o := range h.ops {
		if o.worse || !o.known || in(o) {
			continue
		}
		if o.end < latest {
			fault("%+v is not in it, and what began later is", *o)
		}
		if o.end < saveBegins {
			fault("%+v was acknowledged before the backup and is not in it", *o)
		}
	}
	for token, name := range granted {
		if view := m.Look(name); token <= last && !released[token] && view.Token != token {
			fault("%s was held under token %d, nobody released it, and in it is %+v", name, token, view)
		}
	}
	return faults, acquires, releases
}

// calls waits until clients have made so many.
func (h *history) calls(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("clients have made %d calls", n), func() error {
		if got := h.count(); got < n {
			return fmt.Errorf("%d calls", got)
		}
		return nil
	})
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// fill acquires names that are held from then on, with owners so long that a backup
// goes out in many pieces.
func (h *history) fill(t testing.TB, c *client.Client, n int) {
	t.Helper()
	var all sync.WaitGroup
	const each = 16
	for i := range each {
		all.Go(func() {
			for j := i; j < n; j += each {
				o := h.begin(fmt.Sprintf("fill/%d", j), false, 0)
				info, err := c.Acquire(t.Context(), o.name, strings.Repeat("o", sema.MaxOwnerBytes), time.Hour)
				h.end(o, info.Token, err)
				if err != nil {
					t.Errorf("fill: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A backup that is taken under load is the state of some moment between its begin and
// its end, whichever node is asked, whoever leads, and however slowly it is read.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	hist := &history{start: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	load := h.client()
	hist.fill(t, load, 2000)
	filled := hist.count()
	for i := range 16 {
		workers.Go(func() { hist.work(ctx, load.Fork().(sema.Waiter), i) })
	}
	type taken struct {
		file         []byte
		begins, ends time.Duration
	}
	var all []taken
	for round := range 4 {
		hist.calls(t, filled+300*(round+1))
		b := taken{begins: time.Since(hist.start)}
		switch round {
		case 0: // by a follower, which passes it on
			b.file = saved(t, h.follower().Client())
		case 1: // the leader changes meanwhile
			handedOver := make(chan struct{})
			leader := h.leader()
			go func() { defer close(handedOver); leader.HandOver() }()
			b.file = saved(t, h.client())
			<-handedOver
		case 2: // much is changed between two pieces, by another leader in the end
			b.file = hist.slowlySaved(t, h.leader())
		default:
			b.file = saved(t, h.client())
		}
		b.ends = time.Since(hist.start)
		all = append(all, b)
	}
	stop()
	workers.Wait()
	for i, b := range all {
		m, s := readInto(t, b.file)
		faults, acquires, releases := hist.explain(m, b.begins, b.ends)
		t.Logf("backup %d: %d bytes, index %d, %d holds; of %d calls %d acquires and %d releases are in it", i, s.Size, s.Header.Facts.Index, s.Header.Facts.Holds, len(hist.ops), acquires, releases)
		if acquires == 0 || releases == 0 {
			t.Errorf("backup %d: nothing is in it", i)
		}
		for _, f := range faults[:min(len(faults), 5)] {
			t.Errorf("backup %d: %s", i, f)
		}
	}
}

// slowlySaved takes a backup from a leader, and lets clients work before each piece of it
// is taken away. In the middle leadership is handed over.
func (h *history) slowlySaved(t testing.TB, leader *cluster.Node) []byte {
	t.Helper()
	var file bytes.Buffer
	pieces := 0
	err := leader.Backend().(transport.Saver).Save(t.Context(), transport.SaveRequest{}, writerFunc(func(p []byte) (int, error) {
		if pieces++; pieces == 4 {
			leader.HandOver()
		}
		h.calls(t, h.count()+50)
		return file.Write(p)
	}))
	if err != nil || pieces < 6 {
		t.Fatalf("a backup in %d pieces: %v", pieces, err)
	}
	return file.Bytes()
}

// A leader that is cut off takes no backup: nobody knows what was acknowledged
// elsewhere. It gives its own state to who asks for that.
func TestBackupNeedsAMajority(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	acquire(t, leader, "job", "alice", time.Hour)
	for id := range h.nodes {
		if id != leader.ID() {
			h.kill(id)
		}
	}
	c := leader.Client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var file bytes.Buffer
	if err := c.Save(ctx, transport.SaveRequest{}, &file); err == nil || file.Len() > 0 {
		t.Fatalf("a backup of %d bytes, %v", file.Len(), err)
	}
	if err := c.Save(t.Context(), transport.SaveRequest{Stale: true}, &file); err != nil {
		t.Fatal(err)
	}
	m, s := readInto(t, file.Bytes())
	if !m.Look("job").Held || s.Header.Source != backup.Stale || len(s.Header.Members) != 3 {
		t.Errorf("the leader's own state: %+v", s.Header)
	}
}

// One backup at a time is taken from a node, the next is refused with a reason, and
// one whose reader fails ends.
func TestOneBackupAtATime(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	node := h.leader()
	saver := node.Backend().(transport.Saver)
	begun, goOn := make(chan struct{}), make(chan struct{})
	full := errors.New("no space left on device")
	var once sync.Once
	ended := make(chan error, 1)
	go func() {
		ended <- saver.Save(context.Background(), transport.SaveRequest{}, writerFunc(func([]byte) (int, error) {
			once.Do(func() { close(begun); <-goOn })
			return 0, full
		}))
	}()
	<-begun
	c := h.client()
	err := c.Save(t.Context(), transport.SaveRequest{}, io.Discard)
	if !errors.Is(err, sema.ErrOverloaded) || !strings.Contains(err.Error(), "when it is done") {
		t.Errorf("beside another one: %v", err)
	}
	acquire(t, node, "meanwhile", "alice", time.Second) // the cluster serves
	close(goOn)
	if err := <-ended; !errors.Is(err, full) {
		t.Errorf("of a reader whose disk is full: %v", err)
	}
	if err := c.Save(t.Context(), transport.SaveRequest{}, writerFunc(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("over the network: %v", err)
	}
	eventually(t, "the next backup is taken", func() error {
		return c.Save(t.Context(), transport.SaveRequest{}, io.Discard)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// restoreAll makes a new cluster of a backup, with other addresses, or the same.
func (h *harness) restoreAll(file []byte, tune func(*cluster.RestoreConfig)) (*harness, cluster.Restored) {
	h.t.Helper()
	fresh := newHarness(h.t, len(h.cfgs), nil)
	var restored cluster.Restored
	for id, cfg := range fresh.cfgs {
		rc := cluster.RestoreConfig{ID: id, DataDir: cfg.DataDir, Peers: cfg.Peers, LogStore: cfg.LogStore}
		if tune != nil {
			tune(&rc)
		}
		r, err := cluster.Restore(context.Background(), rc, bytes.NewReader(file))
		if err != nil {
			h.t.Fatal(err)
		}
		if restored.Founding.ClusterID != "" && restored.Founding.ClusterID != r.Founding.ClusterID {
			h.t.Fatalf("nodes of two clusters: %+v and %+v", restored, r)
		}
		restored = r
	}
	return fresh, restored
}

// A restored cluster has the holds of the backup, each with the time left that it
// had, grants tokens that the old cluster never did, in either log store, and goes on
// over restarts and for nodes that missed all of it.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			h := startHarness(t, 3, nil)
			c := h.client()
			held := acquire(t, c, "held", "alice", time.Hour)
			acquire(t, c, "freed", "bob", time.Hour)
			if err := c.Release(t.Context(), "freed"); err != nil {
				t.Fatal(err)
			}
			file := saved(t, c)
			after := acquire(t, c, "after", "carol", time.Hour)
			was, s := readInto(t, file)
			old := s.Header.ClusterID

			fresh, restored := h.restoreAll(file, func(rc *cluster.RestoreConfig) { rc.LogStore = store })
			if restored.Founding.ClusterID == fmt.Sprintf("%x", old) || restored.Holds != 1 {
				t.Fatalf("restored: %+v", restored)
			}
			for id := range fresh.cfgs {
				fresh.start(id)
			}
			leader := fresh.leader()
			if got, err := leader.Get(t.Context(), "held"); err != nil || got.Token != held.Token || got.Owner != "alice" {
				t.Errorf("what was held: %+v, %v", got, err)
			}
			deadline, _ := was.DeadlineOf("held", held.Token)
			left := time.Duration(deadline.At - was.Clock())
			if clock := leader.Clock(); clock < was.Clock() || time.Duration(clock-was.Clock()) > time.Minute || left < 59*time.Minute {
				t.Errorf("the clock went from %v to %v, with %v left", was.Clock(), clock, left)
			}
			for _, name := range []string{"freed", "after"} {
				if got, err := leader.Get(t.Context(), name); !errors.Is(err, sema.ErrNotFound) {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
			}
			next := acquire(t, leader, "after", "dave", time.Hour)
			if next.Status != sema.Acquired || next.Token <= after.Token || next.Token != restored.LastToken+1 {
				t.Errorf("the first token is %d, after %d and %d", next.Token, restored.LastToken, after.Token)
			}
			lc := leader.Client()
			defer lc.Close()
			if _, err := lc.TouchToken(t.Context(), "held", held.Token); err != nil {
				t.Errorf("the holder's touch: %v", err)
			}
			fresh.restart()
			if got, err := fresh.leader().Get(t.Context(), "after"); err != nil || got.Token != next.Token {
				t.Errorf("after a restart: %+v, %v", got, err)
			}
		})
	}
}

// restart stops all nodes and starts them again.
func (h *harness) restart() {
	h.t.Helper()
	for id := range h.cfgs {
		h.close(id)
	}
	for id := range h.cfgs {
		h.start(id)
	}
}

// Nodes of the old cluster and of the new one, or of two that were made of one backup
// in different ways, never talk, even at the same addresses.
func TestRestoredIsAnotherCluster(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	ids := map[string]string{}
	for _, name := range []string{"as it is", "without holds", "again", "of another name"} {
		rc := cluster.RestoreConfig{ID: "n1", DataDir: t.TempDir(), Peers: h.cfgs["n1"].Peers, DropHolds: name == "without holds"}
		if name == "again" {
			rc.Generation = 2
		}
		if name == "of another name" {
			rc.ClusterName = &name
		}
		r, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if before, twice := ids[r.Founding.ClusterID]; twice {
			t.Errorf("restored %s it is the same cluster as %s", name, before)
		}
		ids[r.Founding.ClusterID] = name
	}
	// n1 comes back with the old disk's cluster at its address, and a restored n2 there.
	for id := range h.cfgs {
		h.close(id)
	}
	peers := h.cfgs["n2"].Peers
	for _, id := range []string{"n2", "n3"} {
		cfg := h.cfgs[id]
		cfg.DataDir = filepath.Join(t.TempDir(), id)
		if _, err := cluster.Restore(t.Context(), cluster.RestoreConfig{ID: id, DataDir: cfg.DataDir, Peers: peers}, bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		h.cfgs[id] = cfg
		h.start(id)
	}
	leader := h.leader()
	stranger := h.start("n1")
	acquire(t, leader, "new", "bob", time.Hour)
	eventually(t, "the old node is turned away", func() error {
		if !strings.Contains(h.logs.String(), "another cluster") {
			return errors.New("nobody says so")
		}
		return nil
	})
	if l := stranger.Leader(); l.ID != "" {
		t.Errorf("the old node follows %+v", l)
	}
}

// What cannot be restored is refused with a reason, and leaves nothing behind.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	peers := h.cfgs["n1"].Peers
	flipped := bytes.Clone(file)
	flipped[len(flipped)/2] ^= 1
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var lying bytes.Buffer
	m, s := readInto(t, file)
	s.Header.Facts.Holds++
	state, err := m.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer state.Release()
	if err := backup.Write(&lying, s.Header, state.WriteSnapshot); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		file []byte
		tune func(*cluster.RestoreConfig)
		want string
	}{
		{"nothing", nil, nil, "something else, or empty"},
		{"a part", file[:len(file)-1], nil, "ends too early"},
		{"a bit", flipped, nil, ""},
		{"a lie", lying.Bytes(), nil, "it says of itself"},
		{"not among the peers", file, func(c *cluster.RestoreConfig) { c.ID = "n9" }, `"n9"`},
		{"no peers", file, func(c *cluster.RestoreConfig) { c.Peers = nil }, "peers"},
		{"an old generation", file, func(c *cluster.RestoreConfig) { c.Generation = fsm.MaxGeneration + 1 }, "generation"},
		{"a directory in use", file, func(c *cluster.RestoreConfig) { c.DataDir = h.cfgs["n1"].DataDir }, "not empty"},
		{"a directory of other things", file, func(c *cluster.RestoreConfig) { c.DataDir = full }, "holds mine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := cluster.RestoreConfig{ID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), Peers: peers}
			if tc.tune != nil {
				tc.tune(&cfg)
			}
			if r, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want %q, got %+v, %v", tc.want, r, err)
			}
			if cfg.DataDir == full || cfg.DataDir == h.cfgs["n1"].DataDir {
				return
			}
			if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s was made: %v", cfg.DataDir, err)
			}
		})
	}
}

// A restore that was killed anywhere is begun anew by the next one, and no node takes
// what it left behind for its own.
func TestRestoreIsKilled(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	held := acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	h.close("n1")
	cfg := h.cfgs["n1"]
	cfg.DataDir = t.TempDir()
	rc := cluster.RestoreConfig{ID: "n1", DataDir: cfg.DataDir, Peers: cfg.Peers}
	for _, left := range [][]string{{}, {"raft.db"}, {"raft.db", "wal/x", "snapshots/1-1-1.tmp/state.bin"}} {
		for _, name := range append(left, "restoring") {
			path := filepath.Join(cfg.DataDir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("half"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := cluster.Open(t.Context(), cfg); err == nil {
			n.Close()
			t.Fatalf("a node started with %v", left)
		}
		if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Fatalf("over what was restored: %v", err)
		}
		node, err := cluster.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := node.WaitLeader(t.Context()); err != nil {
			t.Error(err)
		}
		if got, err := node.Get(t.Context(), "job"); err != nil || got.Token != held.Token {
			t.Errorf("%+v, %v", got, err)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"node.json", "raft.db", "wal", "snapshots"} {
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Two of three nodes are gone with their disks. What the third has on its disk is
// all that was acknowledged, and becomes a cluster again. The directory stays as it
// was.
func TestSaveDirectory(t *testing.T) {
	t.Parallel()
	for _, snapshots := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshots=%v", snapshots), func(t *testing.T) {
			t.Parallel()
			h := startHarness(t, 3, func(c *cluster.Config) {
				if snapshots {
					c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 20*time.Millisecond, 16, 4
				}
			})
			leader := h.leader()
			held := map[string]uint64{}
			for i := range 100 {
				name := fmt.Sprintf("job/%d", i)
				held[name] = acquire(t, leader, name, "alice", time.Hour).Token
				if i%3 == 0 {
					if err := leader.Release(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					delete(held, name)
				}
			}
			dir := h.cfgs[leader.ID()].DataDir
			if err := cluster.SaveDirectory(t.Context(), dir, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "in use by another process") {
				t.Errorf("while its node runs: %v", err)
			}
			if snapshots {
				eventually(t, "a snapshot was taken", func() error {
					if leader.LastSnapshot() == "0" {
						return errors.New("none")
					}
					return nil
				})
			}
			for id := range h.nodes {
				h.kill(id)
			}
			before := listing(t, dir)
			var file bytes.Buffer
			if err := cluster.SaveDirectory(t.Context(), dir, &file, nil); err != nil {
				t.Fatal(err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory was\n%sand is\n%s", before, after)
			}
			_, s := readInto(t, file.Bytes())
			if s.Header.Source != backup.Directory || s.Header.NodeID != leader.ID() || len(s.Header.Members) != 3 || s.Header.Facts.Index == 0 || s.Header.Facts.Term == 0 {
				t.Errorf("its header: %+v", s.Header)
			}
			fresh, _ := h.restoreAll(file.Bytes(), nil)
			for id := range fresh.cfgs {
				fresh.start(id)
			}
			leader = fresh.leader()
			c := leader.Client()
			defer c.Close()
			page, err := c.List(t.Context(), transport.ListRequest{Limit: transport.MaxPageSize})
			if err != nil || len(page.Infos) != len(held) {
				t.Fatalf("%d of %d holds, %v", len(page.Infos), len(held), err)
			}
			var highest uint64
			for _, info := range page.Infos {
				highest = max(highest, info.Token)
				if held[info.Name] != info.Token {
					t.Errorf("%s: token %d, was %d", info.Name, info.Token, held[info.Name])
				}
			}
			if next := acquire(t, leader, "next", "bob", time.Hour); next.Token <= highest+1<<40 {
				t.Errorf("token %d after %d", next.Token, highest)
			}
		})
	}
	if err := cluster.SaveDirectory(t.Context(), t.TempDir(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "not a node's data directory") {
		t.Errorf("of an empty directory: %v", err)
	}
}

// listing is the names, sizes and times of all files of a directory.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			fmt.Fprintf(&all, "%s %d %v\n", path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
