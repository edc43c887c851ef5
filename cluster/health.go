package cluster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxSilences is for how many election timeouts the leader of a node that is ready may be
// silent.
const maxSilences = 4

// check is one thing that has to be so.
type check struct {
	name  string
	wrong string // empty if it is so
}

// Unready returns why the node should not be sent calls just now, in words, or nothing
// if it should: it knows no leader, is too far behind, its disk stalls, or it is ending.
// After a start it is behind until it has applied all that was committed by then. It waits
// for nothing.
func (n *Node) Unready() []string { return wrongs(n.readiness()) }

func (n *Node) readiness() []check {
	return []check{n.checkEnding(), n.checkFault(), n.checkLeader(), n.checkBehind(), n.checkDisk()}
}

// liveness is what a node has to be started again for.
func (n *Node) liveness() []check { return []check{n.checkFault()} }

func wrongs(checks []check) []string {
	var all []string
	for _, c := range checks {
		if c.wrong != "" {
			all = append(all, c.name+": "+c.wrong)
		}
	}
	return all
}

func (n *Node) checkEnding() check {
	c := check{name: "running"}
	select {
	case <-n.ending:
		c.wrong = "the node is shutting down"
	default:
	}
	return c
}

func (n *Node) checkFault() check {
	c := check{name: "sound"}
	if err := n.Err(); err != nil {
		c.wrong = err.Error()
	} else if err := n.machine.Err(); err != nil {
		c.wrong = err.Error()
	}
	return c
}

func (n *Node) checkLeader() check {
	c := check{name: "leader"}
	if leader, _ := n.watcher.get(); leader.ID == "" {
		c.wrong = "no leader is known: are a majority of the nodes up, and can this one reach them?"
	}
	return c
}

func (n *Node) checkBehind() check {
	c := check{name: "up-to-date"}
	silence, limit := n.sinceContact(), maxSilences*n.cfg.ElectionTimeout
	if c.wrong = n.progress.behind(n.raft.AppliedIndex(), n.raft.CommitIndex()); c.wrong == "" && silence > limit {
		c.wrong = fmt.Sprintf("the leader was last heard %v ago, more than %v", silence.Round(time.Millisecond), limit)
	}
	return c
}

func (n *Node) checkDisk() check {
	c := check{name: "disk"}
	if n.store.slow.Load() > 0 {
		c.wrong = fmt.Sprintf("stalled: an operation has taken more than %v", n.cfg.WatchdogTimeout/parts)
	}
	return c
}

// sinceContact is how long ago the leader was heard: no time at all on the leader, and
// before any was.
func (n *Node) sinceContact() time.Duration {
	last := n.raft.LastContact()
	if last.IsZero() || n.raft.State() == raft.Leader {
		return 0
	}
	return time.Since(last)
}

// HealthHandler returns a handler for /livez and /readyz: 200, or 503 with what is wrong,
// a line each. With "?verbose" it tells everything that was looked at.
//
// Livez fails if the node has to be started again: it has met a fault and is ending, or
// has ended. Readyz fails as [Node.Unready] says. It goes on answering when the node has
// ended.
func (n *Node) HealthHandler() http.Handler { return healthHandler(func() *Node { return n }) }

// NewHTTPHandler returns a handler for /livez, /readyz and, from gatherer, /metrics. node
// returns nil until the node is open, which may take a while: until then it is alive
// and not ready. It may be called by any goroutine.
func NewHTTPHandler(node func() *Node, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", healthHandler(node))
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	}))
	return mux
}

func healthHandler(node func() *Node) http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, checks func(*Node) []check, opening check) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			all := []check{opening}
			if n := node(); n != nil {
				all = checks(n)
			}
			_, verbose := r.URL.Query()["verbose"]
			tell(w, all, verbose)
		})
	}
	serve("/livez", (*Node).liveness, check{name: "opening"})
	serve("/readyz", (*Node).readiness, check{name: "opening", wrong: "the node is starting"})
	return mux
}

// tell writes what was looked at.
func tell(w http.ResponseWriter, checks []check, verbose bool) {
	wrong := wrongs(checks)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var b strings.Builder
	switch {
	case verbose:
		for _, c := range checks {
			if c.wrong == "" {
				fmt.Fprintf(&b, "[+] %s\n", c.name)
			} else {
				fmt.Fprintf(&b, "[-] %s: %s\n", c.name, c.wrong)
			}
		}
	case len(wrong) == 0:
		b.WriteString("ok\n")
	default:
		b.WriteString(strings.Join(wrong, "\n") + "\n")
	}
	if len(wrong) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, b.String()) // who does not listen is not told
}
