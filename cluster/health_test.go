package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/semanode/sema/cluster"
)

// probe asks a node how it is.
func probe(h http.Handler, path string) (code int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// eventuallyProbed waits for an answer with this code and these words.
func eventuallyProbed(t *testing.T, h http.Handler, path string, code int, words string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s answers %d with %q", path, code, words), func() error {
		if got, body := probe(h, path); got != code || !strings.Contains(body, words) {
			return fmt.Errorf("%d, %q", got, body)
		}
		return nil
	})
}

func TestReadyAsLongAsThereIsAQuorum(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	survivor := h.nodes["n1"]
	health := survivor.HealthHandler()
	eventuallyProbed(t, health, "/readyz", 200, "ok\n")
	h.kill("n2")
	h.kill("n3")
	eventuallyProbed(t, health, "/readyz", 503, "leader: no leader is known")
	eventuallyProbed(t, health, "/readyz?verbose", 503, "[+] disk\n")
	eventuallyProbed(t, health, "/livez", 200, "ok\n")
	h.start("n2")
	eventuallyProbed(t, health, "/readyz", 200, "ok\n")
	if err := survivor.Close(); err != nil {
		t.Fatal(err)
	}
	eventuallyProbed(t, health, "/readyz", 503, "running: the node is shutting down")
	eventuallyProbed(t, health, "/livez", 200, "ok") // it met no fault
	delete(h.nodes, "n1")
}

// A node that comes back is not ready before it has all that was committed meanwhile,
// however far its own log is behind.
func TestNotReadyBeforeItHasCaughtUp(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, func(cfg *cluster.Config) {
		cfg.TrailingLogs, cfg.SnapshotThreshold = 100_000, 1<<40 // it comes back by its log
	})
	behind := h.follower().ID()
	h.kill(behind)
	h.writeEntries(11_000)
	missed := h.leader().LastIndex()
	n := h.start(behind)
	if len(n.Unready()) == 0 {
		t.Error("it is ready before it has heard of the leader")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- n.WaitReady(ctx) }()
	eventually(t, "it is ready", func() error {
		unready := n.Unready()
		if at := n.AppliedIndex(); len(unready) == 0 && at < missed {
			t.Fatalf("it is ready at %d, and %d is committed", at, missed)
		}
		if len(unready) > 0 {
			return fmt.Errorf("%q", unready)
		}
		return nil
	})
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// A disk that stalls makes a node unready long before the watchdog ends it, and one that
// goes on makes it ready again. When the watchdog ends it, it is not alive.
func TestNotReadyWhileTheDiskStalls(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, func(cfg *cluster.Config) { cfg.WatchdogTimeout = 5 * time.Second })
	n := h.nodes["n1"]
	health := n.HealthHandler()
	stall := func() (resume func()) {
		resume = n.StallDisk()
		go func() { // ends with the node at the latest
			_, _ = n.Acquire(context.Background(), fmt.Sprint("a", time.Now().UnixNano()), "owner", time.Minute)
		}()
		eventuallyProbed(t, health, "/readyz", 503, "disk: stalled")
		return resume
	}
	resume := stall()
	eventuallyProbed(t, health, "/livez", 200, "ok\n")
	resume()
	eventuallyProbed(t, health, "/readyz", 200, "ok\n")
	for _, line := range []string{"the disk is slow", "a slow disk operation has ended"} {
		eventually(t, "the log says "+line, func() error {
			if !strings.Contains(h.logs.String(), line) {
				return fmt.Errorf("it does not")
			}
			return nil
		})
	}
	resume = stall()
	eventuallyProbed(t, health, "/livez", 503, "disk stalled")
	resume()
	<-n.Done()
	delete(h.nodes, "n1")
}

// Before there is a node, it is alive and not ready; and only GET is served.
func TestHTTPHandler(t *testing.T) {
	t.Parallel()
	handler := cluster.NewHTTPHandler(func() *cluster.Node { return nil }, prometheus.NewRegistry())
	eventuallyProbed(t, handler, "/livez", 200, "ok")
	eventuallyProbed(t, handler, "/readyz", 503, "opening: the node is starting")
	eventuallyProbed(t, handler, "/metrics", 200, "")
	eventuallyProbed(t, handler, "/nothing", 404, "")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/readyz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
