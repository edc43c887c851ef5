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
	os.Exit(m.Run())
}

func runNode(config string) {
	var cfg cluster.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	node, err := cluster.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	<-node.Done()
	panic(node.Err())
}

// startProcess runs a node in a process of its own and returns it once it runs.
func (h *harness) startProcess(id string) *exec.Cmd {
	h.t.Helper()
	cfg := h.cfgs[id]
	cfg.Logger = nil
	config, err := json.Marshal(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
	cmd.Stderr = h.logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.sigkill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		h.t.Fatalf("process of %s: %q, %v", id, line, err)
	}
	return cmd
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
func TestFollowerMissedTooMuch(t *testing.T) {
	t.Parallel()
	const missed = 50_000
	h := newHarness(t, 3, func(c *cluster.Config) { c.SnapshotInterval = 200 * time.Millisecond })
	h.start("n1")
	h.start("n2")
	leader := h.leader() // in this process
	process := h.startProcess("n3")
	acquire(t, leader, "before", "alice", time.Hour)
	h.sigkill(process)

	first := leader.AppliedIndex()
	writeEntries(t, leader, missed)
	if wrote := leader.AppliedIndex() - first; wrote < missed {
		t.Fatalf("%d entries were written", wrote)
	}
	eventually(t, "the leader has cut its log", func() error {
		if last := leader.LastSnapshot(); last == "0" {
			return errors.New("it has no snapshot")
		}
		return nil
	})

	process = h.startProcess("n3")
	h.caughtUp(leader, "n3")
	if !strings.Contains(h.logs.String(), "Installed remote snapshot") {
		t.Fatal("n3 came back without a snapshot")
	}

	// Its log now begins behind the snapshot. It must be able to start from that.
	writeEntries(t, leader, 500)
	h.caughtUp(leader, "n3")
	h.sigkill(process)
	h.startProcess("n3")
	acquire(t, leader, "after", "alice", time.Hour)
	h.caughtUp(leader, "n3")
}

// caughtUp waits until a node has applied all that the leader has applied now.
func (h *harness) caughtUp(leader *cluster.Node, id string) {
	h.t.Helper()
	want := leader.AppliedIndex()
	eventually(h.t, id+" has caught up", func() error {
		st, err := leader.Backend().Status(context.Background(), transport.StatusRequest{})
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

// writeEntries writes n entries, from many goroutines so that raft writes them
// to disk in batches.
func writeEntries(t *testing.T, leader *cluster.Node, n int) {
	t.Helper()
	const writers = 250
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			c := fsm.Command{Kind: fsm.Acquire, Name: fmt.Sprintf("missed/%03d", w), Owner: "bob", Timeout: time.Hour}
			for range n / writers {
				batch := fsm.Batch{Stamp: fsm.Stamp{Term: leader.Term(), Clock: leader.Clock()}, Commands: []fsm.Command{c}}
				if err := leader.ApplyEntry(batch).Error(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
