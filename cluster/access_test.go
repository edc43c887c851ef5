package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

// The tokens of the clusters with access control.
var worker, reader, flooder = access.NewToken(), access.NewToken(), access.NewToken()

// startGuarded starts nodes with an access file.
func startGuarded(t testing.TB, n int, tune func(*cluster.Config)) *harness {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(`
identities:
  - {name: worker, tokens: ["`+worker.Hash().String()+`"], limits: {holds: 5}}
  - {name: reader, tokens: ["`+reader.Hash().String()+`"]}
  - {name: flooder, tokens: ["`+flooder.Hash().String()+`"], limits: {requests-per-second: 500, burst: 100}}
rules:
  - {who: [worker, reader, flooder], names: ["a/", "c/"], rights: [read, acquire]}
  - {who: [worker], names: [""], rights: [acquire]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHarness(t, n, func(c *cluster.Config) {
		c.AccessFile = file
		if tune != nil {
			tune(c)
		}
	})
	eventually(t, "limits count, as all members know them", func() error {
		if !strings.Contains(h.logs.String(), "know log entries of a higher level") {
			return errors.New("they do not")
		}
		return nil
	})
	return h
}

// as returns a client that shows a token, "" for none.
func (h *harness) as(token access.Token) *client.Client {
	h.t.Helper()
	var endpoints []string
	for _, n := range h.nodes {
		endpoints = append(endpoints, n.GRPCAddr())
	}
	c, err := client.New(client.Config{Endpoints: endpoints, Token: string(token)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestLimitsOutliveLeadersAndSnapshots: what an identity has is counted in the state, so
// another leader, and a cluster that comes back from its disks, knows it.
func TestLimitsOutliveLeadersAndSnapshots(t *testing.T) {
	t.Parallel()
	h := startGuarded(t, 3, func(c *cluster.Config) { c.SnapshotThreshold, c.SnapshotInterval = 8, 50*time.Millisecond })
	c := h.as(worker)
	for i := range 5 {
		acquire(t, c, fmt.Sprint("a/", i), "me", 10*time.Minute)
	}
	full := func(step string, c *client.Client) {
		t.Helper()
		var limit *sema.LimitError
		if _, err := c.Acquire(soon(t), "a/more", "me", time.Minute); !errors.As(err, &limit) || limit.Most != 5 {
			t.Fatalf("%s: %v, want the limit of 5", step, err)
		}
		if _, err := c.AcquireWait(soon(t), "a/0", "me", time.Minute, nil); !errors.Is(err, sema.ErrLimit) {
			t.Fatalf("%s, to wait: %v", step, err)
		}
	}
	full("at first", c)
	h.kill(h.leader().ID())
	h.leader()
	full("with another leader", c)
	if err := c.Release(soon(t), "a/0"); err != nil {
		t.Fatal(err)
	}
	acquire(t, c, "a/0", "me", 10*time.Minute)
	full("one released and one acquired", c)
	acquire(t, h.as(reader), "a/other", "somebody", time.Minute) // everyone else goes on
	for i := range 20 {                                          // enough for a snapshot
		acquire(t, h.leader(), fmt.Sprint("embedded/", i), "nobody's account", time.Minute)
	}
	var ids []string
	for id, n := range h.nodes {
		eventually(t, id+" has a snapshot", func() error {
			if n.LastSnapshot() == "" || n.LastSnapshot() == "0" {
				return errors.New("none")
			}
			return nil
		})
		ids = append(ids, id)
	}
	for _, id := range ids {
		h.kill(id)
	}
	for _, id := range ids {
		h.start(id)
	}
	h.leader()
	full("after a restart of all", h.as(worker))
}

// TestListShowsWhatMayBeRead, page by page, and no page is of another size for what it
// does not show.
func TestListShowsWhatMayBeRead(t *testing.T) {
	t.Parallel()
	h := startGuarded(t, 1, nil)
	var want []string
	for i := range 30 {
		for _, prefix := range []string{"a/", "b/", "c/", "d"} {
			name := fmt.Sprintf("%s%02d", prefix, i)
			acquire(t, h.leader(), name, "o", time.Minute)
			if prefix == "a/" || prefix == "c/" {
				want = append(want, name)
			}
		}
	}
	slices.Sort(want)
	c := h.as(reader)
	for _, size := range []int{1, 7, 30, 60, 100} {
		var got []string
		req := transport.ListRequest{Limit: size}
		for {
			page, err := c.List(soon(t), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range page.Infos {
				got = append(got, info.Name)
			}
			if page.Next == "" {
				break
			}
			if len(page.Infos) != size {
				t.Errorf("a page of %d, want %d", len(page.Infos), size)
			}
			req.After = page.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q, want %q", size, got, want)
		}
	}
	if _, err := c.List(soon(t), transport.ListRequest{Prefix: "b/"}); !errors.Is(err, sema.ErrDenied) {
		t.Errorf("what may not be read: %v", err)
	}
	if _, err := c.ForceRelease(soon(t), "a/01", 1); !errors.Is(err, sema.ErrDenied) {
		t.Errorf("without the right to force: %v", err)
	}
	if _, err := h.as("").Get(soon(t), "a/01"); !errors.Is(err, sema.ErrUnauthenticated) {
		t.Errorf("without a token: %v", err)
	}
	if err := errors.Join(h.leader().Release(soon(t), "b/01")); err != nil { // who embeds the node is nobody's caller
		t.Error(err)
	}
}

// TestFloodLeavesOthersAlone floods with one identity, and measures another's cycles.
func TestFloodLeavesOthersAlone(t *testing.T) { // not parallel: it measures
	h := startGuarded(t, 3, nil)
	mine := h.as(reader)
	measure := func() (p50, p99 time.Duration) {
		var all []time.Duration
		for i := range 500 {
			began := time.Now()
			name := fmt.Sprint("a/mine", i)
			acquire(t, mine, name, "me", time.Minute)
			if err := mine.Release(soon(t), name); err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all[len(all)/2], all[len(all)*99/100]
	}
	quiet50, quiet99 := measure()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken, refused := 0, 0
	began := time.Now()
	for i := range 64 {
		c := h.as(flooder)
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := c.Acquire(ctx, fmt.Sprintf("c/flood%d/%d", i, n), "flood", time.Minute)
				mu.Lock()
				if errors.Is(err, sema.ErrLimit) {
					refused++
				} else {
					taken++
				}
				mu.Unlock()
			}
		})
	}
	p50, p99 := measure()
	cancel()
	wg.Wait()
	took := time.Since(began).Seconds()
	rate := float64(taken) / took
	t.Logf("a cycle took %v (p99 %v), and beside %d calls that were taken (%.0f a second) and %d that were refused %v (p99 %v)",
		quiet50, quiet99, taken, rate, refused, p50, p99)
	if refused == 0 {
		t.Error("nothing of the flood was refused")
	}
	if most := int(2*500*took) + 500; refused > most {
		t.Errorf("%d calls were refused, want %d at the most: refusals are paced, too", refused, most)
	}
	if most := max(20*quiet99, 300*time.Millisecond); p99 > most {
		t.Errorf("the p99 of somebody else rose to %v from %v, want %v at the most", p99, quiet99, most)
	}
}

// TestBadAccessFile keeps a node from starting, and says what is wrong and where.
func TestBadAccessFile(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1, func(c *cluster.Config) { c.AccessFile = filepath.Join(filepath.Dir(c.DataDir), "access.yaml") })
	cfg := h.cfgs["n1"]
	if err := os.WriteFile(cfg.AccessFile, []byte("rulez: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := cluster.Open(context.Background(), cfg)
	if err == nil {
		_ = node.Close()
		t.Fatal("it was opened")
	}
	if !errors.Is(err, sema.ErrInvalid) || !strings.Contains(err.Error(), `did you mean "rules"?`) || !strings.Contains(err.Error(), cfg.AccessFile) {
		t.Errorf("refused with %v", err)
	}
}
