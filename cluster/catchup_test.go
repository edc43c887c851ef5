package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// nodeEnv makes the test binary a node of its own, with the configuration that
// the variable holds, until it is killed.
const nodeEnv = "SEMA_TEST_NODE"

func TestMain(m *testing.M) {
	if config := os.Getenv(nodeEnv); config != "" {
		runNode(config)
	}
	if what := os.Getenv(convertEnv); what != "" {
		runConvert(what)
	}
	os.Exit(m.Run())
}

func runNode(config string) {
	var cfg cluster.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	breakPromises()
	node, err := cluster.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	<-node.Done()
	panic(node.Err())
}

// breakPromises is for builds that do.
var breakPromises = func() {}

// startProcess runs a node in a process of its own and returns it once it runs.
func (h *harness) startProcess(id string) *exec.Cmd {
	h.t.Helper()
	cmd, err := h.tryStartProcess(id)
	if err != nil {
		h.t.Fatal(err)
	}
	return cmd
}

func (h *harness) tryStartProcess(id string) (*exec.Cmd, error) {
	cfg := h.cfgs[id]
	cfg.Logger = nil
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
	cmd.Stderr = h.logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { h.sigkill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		h.sigkill(cmd)
		return nil, fmt.Errorf("process of %s: %q, %w", id, line, err)
	}
	return cmd, nil
}

// sigkill ends the process as a power cut would, and is idempotent.
func (h *harness) sigkill(cmd *exec.Cmd) {
	if cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Kill() // it may have died by itself
	_ = cmd.Wait()         // "signal: killed" is what was asked for
}

// TestFollowerMissedTooMuch kills a follower's process, writes 50,000 entries
// that it misses, and starts it again: the log it needs is gone, so it has to
// come back by a snapshot.
func TestFollowerMissedTooMuch(t *testing.T) { // not parallel: it keeps both cores busy
	const missed = 50_000
	h := newHarness(t, 3, func(c *cluster.Config) {
		c.SnapshotInterval, c.ElectionTimeout = 200*time.Millisecond, 2*time.Second
	})
	here := h.start("n1")
	h.start("n2")
	process := h.startProcess("n3")
	eventually(t, "a node leads, whichever it is", func() error {
		if here.Leader().ID == "" {
			return errors.New("none does")
		}
		return nil
	})
	h.sigkill(process)
	h.leader()

	first := here.AppliedIndex()
	h.writeEntries(missed)
	eventually(t, "both have written 50,000 entries and cut their logs", func() error {
		for id, n := range h.nodes {
			if begins := n.FirstIndex(); begins <= first || n.AppliedIndex() < first+missed {
				return fmt.Errorf("%s is at %d, its snapshot at %s, its log begins at %d", id, n.AppliedIndex(), n.LastSnapshot(), begins)
			}
		}
		return nil
	})

	process = h.startProcess("n3")
	h.caughtUp("n3")
	eventually(t, "n3 says that it came back by a snapshot", func() error { // its log takes its time through the pipe
		if !strings.Contains(h.logs.String(), "Installed remote snapshot") {
			return errors.New("it does not")
		}
		return nil
	})

	// Its log now begins behind the snapshot. It must be able to start from that.
	h.writeEntries(500)
	h.caughtUp("n3")
	h.sigkill(process)
	h.startProcess("n3")
	h.caughtUp("n3")
}

// caughtUp waits until a node has applied all that n1 has applied now.
func (h *harness) caughtUp(id string) {
	h.t.Helper()
	here := h.nodes["n1"]
	want := here.AppliedIndex()
	eventually(h.t, id+" has caught up", func() error {
		st, err := here.Backend().Status(context.Background(), transport.StatusRequest{})
		if err != nil {
			return err
		}
		for _, n := range st.Nodes {
			if n.ID == id && n.AppliedIndex < want {
				return fmt.Errorf("it is at %d of %d %s", n.AppliedIndex, want, n.Err)
			}
		}
		return nil
	})
}

// writeEntries writes at least n entries, from many goroutines so that raft writes
// them to disk in batches.
func (h *harness) writeEntries(n int) {
	h.t.Helper()
	const writers = 250
	var wg sync.WaitGroup
	var written atomic.Int64
	for w := range writers {
		c := fsm.Command{Kind: fsm.Acquire, Name: fmt.Sprintf("missed/%03d", w), Owner: "bob", Timeout: time.Hour}
		wg.Go(func() {
			for written.Load() < int64(n) {
				leader := h.leading()
				if leader == nil {
					<-time.After(10 * time.Millisecond)
					continue
				}
				batch := fsm.Batch{Stamp: fsm.Stamp{Term: leader.Term(), Clock: leader.Clock()}, Commands: []fsm.Command{c}}
				if err := leader.ApplyEntry(batch).Error(); err == nil { // else another leads, or will
					written.Add(1)
				}
			}
		})
	}
	wg.Wait()
}
