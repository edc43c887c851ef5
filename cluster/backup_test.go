package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"io"
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
