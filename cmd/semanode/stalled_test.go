package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/fence"
	"github.com/semanode/sema/internal/turns"
)

// The variables that make the test binary a holder: how it works, and what it
// writes to.
const (
	holderEnv   = "SEMA_TEST_HOLDER"
	resourceEnv = "SEMA_TEST_RESOURCE"

	careful  = "careful"  // asks its context before each write
	careless = "careless" // does not
)

// holder is a program that holds a lock and writes to a resource whenever it gets
// SIGUSR1. It ends when it has lost the lock, or its write was refused.
func holder() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGUSR1)
	c, err := client.New(client.Config{Endpoints: strings.Split(os.Getenv(endpointsEnv), ",")})
	if err != nil {
		fmt.Println(err)
		return exitFailed
	}
	defer c.Close()
	lock, err := c.Lock(context.Background(), "resource", client.LockOptions{Owner: "stalled", Timeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return exitFailed
	}
	fmt.Println("holds")
	for range signals {
		if os.Getenv(holderEnv) == careful && lock.Context().Err() != nil {
			fmt.Println("stopped:", context.Cause(lock.Context()))
			return exitDone
		}
		answer, err := write(os.Getenv(resourceEnv), lock.Token())
		if err != nil {
			fmt.Println(err)
			return exitFailed
		}
		if fmt.Println(answer); answer != "accepted" {
			return exitDone
		}
	}
	return exitDone
}

// write sends one write under a token, and tells what became of it.
func write(url string, token uint64) (answer string, err error) {
	req, err := http.NewRequest(http.MethodPut, url, nil)
	if err != nil {
		return "", err
	}
	fence.SetHeader(req, token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "refused: " + strconv.Itoa(resp.StatusCode), nil
	}
	return "accepted", nil
}

// resource counts the requests that come to it and keeps the tokens of those that
// were accepted.
type resource struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	tokens   []uint64
}

func startResource(t *testing.T) *resource {
	r := new(resource)
	gate := new(fence.Gate)
	accept := gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		token, _ := fence.FromContext(req.Context())
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tokens = append(r.tokens, token)
	}))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests++
		r.mu.Unlock()
		accept.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

// A holder whose process is stopped for longer than its timeout: when it goes on,
// it is told before its next write, if it asks; and if it does not ask, the
// resource refuses that write, because the next holder has written by then.
func TestStalledHolder(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3)
	for how, end := range map[string]string{careful: "stopped: " + sema.ErrLost.Error(), careless: "refused: 412"} {
		t.Run(how, func(t *testing.T) {
			c := nodes.client()
			to := startResource(t)
			p := startEnv(t, []string{holderEnv + "=" + how, resourceEnv + "=" + to.URL, endpointsEnv + "=" + nodes.endpoints()})
			p.says("holds")
			p.signal(syscall.SIGUSR1)
			p.says("accepted")

			p.signal(syscall.SIGSTOP)
			next, err := c.Lock(within(t), "resource", client.LockOptions{Owner: "next"})
			if err != nil {
				t.Fatal(err)
			}
			defer next.Unlock(context.WithoutCancel(t.Context()))
			if answer, err := write(to.URL, next.Token()); answer != "accepted" {
				t.Fatalf("the next holder's write: %s, %v", answer, err)
			}
			p.signal(syscall.SIGUSR1) // it will write as soon as it goes on
			p.signal(syscall.SIGCONT)
			p.says(end)

			to.mu.Lock()
			defer to.mu.Unlock()
			if want := map[string]int{careful: 2, careless: 3}[how]; to.requests != want {
				t.Errorf("%d requests, want %d", to.requests, want)
			}
			if len(to.tokens) != 2 || !slices.IsSorted(to.tokens) || to.tokens[1] != next.Token() {
				t.Errorf("accepted were the tokens %v, the last holder has %d", to.tokens, next.Token())
			}
		})
	}
}

// Waiters whose node is stopped, and breaks no connection, find another and keep
// their places: the next is granted when the holder releases, long before gRPC
// gives up on the connection.
func TestWaitersOutliveAStoppedLeader(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3)
	admin := nodes.client()
	holding := nodes.client()
	lock, err := holding.Lock(within(t), "a", client.LockOptions{Owner: "holder"})
	if err != nil {
		t.Fatal(err)
	}
	leader := nodes.leader(admin)
	type grant struct {
		waiter int
		lock   *client.Lock
		err    error
	}
	const waiters = 5
	grants := make(chan grant, waiters)
	for w := range waiters {
		c, err := client.New(client.Config{Endpoints: []string{nodes.grpc[leader], nodes.grpc[(leader+1)%3], nodes.grpc[(leader+2)%3]}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		queued := make(chan struct{})
		go func() {
			l, err := c.Lock(t.Context(), "a", client.LockOptions{Owner: strconv.Itoa(w), Notify: func(p sema.Place) {
				select {
				case <-queued:
				default:
					close(queued)
				}
			}})
			grants <- grant{w, l, err}
		}()
		<-queued
	}
	nodes.processes[leader].signal(syscall.SIGSTOP)
	stopped := time.Now()
	for w := range waiters {
		if err := lock.Unlock(within(t)); err != nil && !errors.Is(err, sema.ErrLost) {
			t.Fatal(err)
		}
		got := <-grants
		if got.err != nil || got.waiter != w {
			t.Fatalf("waiter %d was granted, want %d: %v", got.waiter, w, got.err)
		}
		if w == 0 {
			took := time.Since(stopped)
			if t.Logf("leader stopped to next grant: %v", took); took > slow {
				t.Errorf("it took %v", took)
			}
		}
		lock = got.lock
	}
	if err := lock.Unlock(within(t)); err != nil {
		t.Error(err)
	}
	nodes.processes[leader].signal(syscall.SIGCONT)
}

// First come, first served, while two leaders are killed in the middle of it.
func TestLineOutlivesTwoKilledLeaders(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3)
	admin := nodes.client()
	const waiters, all = 64, 64 * 20
	killed := 0
	taken := turns.Take(t, nodes.client(), "a", waiters, all, func(n int) { // one at a time: it holds the lock
		if n == all/3 || n == all*2/3 {
			leader := nodes.leader(admin)
			nodes.processes[leader].kill()
			nodes.leader(admin)
			nodes.start(leader)
			killed++
		}
	})
	if killed != 2 {
		t.Errorf("%d leaders were killed", killed)
	}
	turns.CheckOrder(t, taken)
}
