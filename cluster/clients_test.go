package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// startCrowded starts nodes at which the worker may make calls as two clients.
func startCrowded(t *testing.T, nodes int) *harness {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(`
identities:
  - {name: worker, tokens: ["`+worker.Hash().String()+`"], limits: {clients: 2}}
  - {name: reader, tokens: ["`+reader.Hash().String()+`"]}
rules:
  - {who: ["*"], names: ["a/"], rights: [read, acquire]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	return startHarness(t, nodes, func(c *cluster.Config) { c.AccessFile = file })
}

// remembered is how many clients the state machine remembers.
func (h *harness) remembered() int {
	h.t.Helper()
	var file bytes.Buffer
	if err := h.leader().Backend().(transport.Saver).Save(soon(h.t), transport.SaveRequest{}, &file); err != nil {
		h.t.Fatal(err)
	}
	m, _ := readInto(h.t, file.Bytes())
	return m.Facts().Clients
}

// shows is a token that calls show.
type shows string

func (s shows) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(s)}, nil
}
func (shows) RequireTransportSecurity() bool { return false }

// caller returns what makes a call at a node as the worker, in an exchange or, if unary, as one
// of its own. The client is the caller's to choose.
func (h *harness) caller(node *cluster.Node, unary bool) func(c transport.Call) (sema.Info, error) {
	h.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+node.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(shows(worker)))
	if err != nil {
		h.t.Fatal(err)
	}
	stream := transport.NewStream(conn)
	h.t.Cleanup(func() { stream.Close(); _ = conn.Close() })
	told := func(sema.Place) {}
	return func(c transport.Call) (sema.Info, error) {
		c.Owner, c.Timeout = "o", time.Hour
		if unary {
			c.Answer = c.Unary(soon(h.t), semav1.NewSemaClient(conn), told)
		} else {
			stream.Do(soon(h.t), &c, 0, told)
		}
		return c.Info, transport.ErrorFromStatus(c.Err)
	}
}

// TestClientsBeyondTheLimit: whoever may acquire cannot have the nodes remember more clients
// than its limit has, whichever calls it makes and wherever they are decided, and keeps
// and gives back what it holds all the same.
func TestClientsBeyondTheLimit(t *testing.T) {
	t.Parallel()
	for _, follower := range []bool{false, true} {
		for _, unary := range []bool{false, true} {
			t.Run(fmt.Sprintf("at a follower %v, unary %v", follower, unary), func(t *testing.T) {
				t.Parallel()
				h := startCrowded(t, 2)
				node := h.leader()
				if follower {
					node = h.follower()
				}
				crowd(t, h, node, unary)
			})
		}
	}
}

func crowd(t *testing.T, h *harness, node *cluster.Node, unary bool) {
	call := h.caller(node, unary)
	begun := h.remembered()
	id := func(n int) sema.Attempt {
		return sema.Attempt{Client: sema.ClientID{byte(n >> 8), byte(n), 1}, Seq: 1, LowestOpen: 1}
	}
	held := map[string]uint64{}
	for n, method := range []transport.Method{transport.MethodAcquire, transport.MethodWait} {
		name := fmt.Sprint("a/", n)
		info, err := call(transport.Call{Method: method, Name: name, Attempt: id(n)})
		if err != nil || info.Status != sema.Acquired {
			t.Fatalf("within the limit: %+v, %v", info, err)
		}
		held[name] = info.Token
	}
	for n := 2; n < 100; n++ { // each another client
		name := fmt.Sprint("a/", n%2)
		for what, c := range map[string]transport.Call{
			"acquire": {Method: transport.MethodAcquire, Name: fmt.Sprint("a/", n)},
			"wait":    {Method: transport.MethodWait, Name: fmt.Sprint("a/", n)},
			"undo":    {Method: transport.MethodRelease, Name: fmt.Sprint("a/", n)},
		} {
			c.Attempt = id(n)
			if _, err := call(c); !errors.Is(err, sema.ErrLimit) {
				t.Fatalf("%s by client %d: %v", what, n, err)
			}
		}
		touched, err := call(transport.Call{Method: transport.MethodTouch, Name: name, Token: held[name], Attempt: id(n)})
		if err != nil || touched.Token != held[name] {
			t.Fatalf("a touch by client %d: %+v, %v", n, touched, err)
		}
		if _, err := call(transport.Call{Method: transport.MethodRelease, Name: name, Token: 1 << 60, Attempt: id(n)}); !errors.Is(err, sema.ErrNotHeld) {
			t.Fatalf("a release of what is not held by client %d: %v", n, err)
		}
	}
	for name, token := range held {
		if _, err := call(transport.Call{Method: transport.MethodRelease, Name: name, Token: token, Attempt: id(100)}); err != nil {
			t.Errorf("a release by another client: %v", err)
		}
		if info, err := call(transport.Call{Method: transport.MethodGet, Name: name}); !errors.Is(err, sema.ErrNotFound) {
			t.Errorf("after the release: %+v, %v", info, err)
		}
	}
	if got := h.remembered() - begun; got != 2 {
		t.Errorf("the state machine remembers %d clients more, want 2", got)
	}
	for range 3 { // everyone else goes on
		acquire(t, h.at(node, reader, unary), "a/other", "somebody", time.Minute)
	}
}

// TestOneClientIsTwo: the Go client acquires, waits in line and keeps what it has within a limit
// of two, and a second one beside it does not.
func TestOneClientIsTwo(t *testing.T) {
	t.Parallel()
	h := startCrowded(t, 1)
	begun := h.remembered()
	c := h.as(worker)
	acquire(t, c, "a/1", "me", time.Minute)
	if _, err := c.AcquireWait(soon(t), "a/2", "me", time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	lock, err := c.Lock(soon(t), "a/3", client.LockOptions{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	before := lock.Info().ExpiresAt
	eventually(t, "the lock is touched", func() error {
		if !lock.Info().ExpiresAt.After(before) {
			return errors.New("it was not")
		}
		return nil
	})
	if err := errors.Join(c.Release(soon(t), "a/1"), c.Release(soon(t), "a/2"), lock.Unlock(soon(t))); err != nil {
		t.Error(err)
	}
	if got := h.remembered() - begun; got != 2 {
		t.Errorf("the state machine remembers %d clients of one Go client, want 2", got)
	}
	if _, err := h.as(worker).Acquire(soon(t), "a/4", "me too", time.Minute); !errors.Is(err, sema.ErrLimit) {
		t.Errorf("another Go client: %v", err)
	}
}
