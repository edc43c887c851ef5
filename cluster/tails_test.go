package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

var tails = flag.Int("tails", 5, "how often the end of each log is damaged, in each way")

// TestDamagedTails damages the newest part of a stopped node's log in every way that
// comes to mind: it starts with all that was acknowledged, or is refused in one line
// that names the file. With -tails 200 it takes a while.
func TestDamagedTails(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			t.Logf("-cutseed %d", *cutSeed)
			r := rand.New(rand.NewPCG(*cutSeed, 0))
			used, acked := acknowledged(t, store)
			for _, way := range []struct {
				name   string
				damage func(data []byte, at int) []byte // at is before the end of what was written
			}{
				{"cut off", func(data []byte, at int) []byte { return data[:at] }},
				{"cut off, and garbage behind it", func(data []byte, at int) []byte {
					return append(data[:at], garbage(r, 1+r.IntN(4096))...)
				}},
				{"garbage from there on", func(data []byte, at int) []byte {
					return append(data[:at], garbage(r, len(data)-at)...)
				}},
				{"zeros from there on", func(data []byte, at int) []byte {
					clear(data[at:])
					return data
				}},
				{"a sector of zeros", func(data []byte, at int) []byte {
					clear(data[at-at%512 : min(at-at%512+512, len(data))])
					return data
				}},
				{"one bit", func(data []byte, at int) []byte {
					data[at] ^= 1 << r.IntN(8)
					return data
				}},
			} {
				started, refused := 0, 0
				for range *tails {
					cfg := copyDirectory(t, used)
					path := filepath.Join(cfg.DataDir, "raft.db")
					if store == cluster.WAL {
						path = newestSegment(t, cfg.DataDir)
					}
					data := read(t, path)
					end := len(strings.TrimRight(string(data), "\x00"))
					at := r.IntN(end)
					if r.IntN(2) == 0 {
						at = max(0, end-1-r.IntN(2000)) // in the last appends
					}
					if err := os.WriteFile(path, way.damage(data, at), 0o600); err != nil {
						t.Fatal(err)
					}
					switch lost, err := missing(cfg, acked); {
					case err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), cfg.DataDir)):
						t.Errorf("%s at byte %d: not one line that names the file: %v", way.name, at, err)
					case err != nil:
						refused++
					case lost != "":
						t.Errorf("%s at byte %d of %d: it started without %s", way.name, at, end, lost)
					default:
						started++
					}
				}
				t.Logf("%s: %d times; started with everything: %d, refused: %d", way.name, *tails, started, refused)
			}
		})
	}
}

func garbage(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// acknowledged returns the configuration of a node that was stopped, and what it had
// acknowledged.
func acknowledged(t *testing.T, store cluster.LogStore) (cluster.Config, map[string]uint64) {
	t.Helper()
	h := startHarness(t, 1, func(c *cluster.Config) {
		c.LogStore, c.LogSegmentSize = store, 64<<10
		c.GRPCAddr, c.RaftAddr = "", "127.0.0.1:0"
	})
	acked := map[string]uint64{}
	for i := range 300 {
		name := fmt.Sprintf("held/%d/%s", i, strings.Repeat("x", i%300))
		acked[name] = acquire(t, h.leader(), name, "alice", time.Hour).Token
	}
	h.close("n1")
	return h.cfgs["n1"], acked
}

// missing opens the node and returns one of what it should have and has not, or why it
// does not open.
func missing(cfg cluster.Config, want map[string]uint64) (string, error) {
	node, err := cluster.Open(context.Background(), cfg)
	if err != nil {
		return "", err
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := node.WaitLeader(ctx); err != nil {
		return "", err
	}
	if info, err := node.Acquire(ctx, "one more", "bob", time.Hour); err != nil || info.Status != sema.Acquired {
		return fmt.Sprintf("a working log: %+v, %v", info, err), nil
	}
	for name, token := range want {
		if info, err := node.Get(ctx, name); err != nil || info.Token != token {
			return fmt.Sprintf("%s with token %d: %+v, %v", name, token, info, err), nil
		}
	}
	return "", nil
}
