//go:build unix

package peer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/internal/load"
)

// The test binary is an etcd server if it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && slices.Equal(os.Args[1:3], []string{"peer", "etcd"}) {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := peer.ServeEtcd(ctx, os.Args[3:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A peer that is fast because it locks nothing would be no peer: every way of every
// peer that is installed excludes, and passes the lock on.
func TestEveryWayExcludes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts every peer that is installed")
	}
	for _, p := range append(peer.All(peer.Config{Scratch: t.TempDir(), Waiters: 4}), peer.TunedEtcd()) {
		about, err := p.Find(t.Context())
		if errors.Is(err, peer.ErrAbsent) {
			t.Logf("%s is left out: %v", p.Name(), err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Run(about.Name, func(t *testing.T) {
			running := start(t, p)
			for _, mode := range []load.Mode{load.Cycle, load.Poll, load.Handoff} {
				for _, way := range running.Ways(mode) {
					if mode == load.Cycle && way.Column == "etcd, Mutex" {
						continue // tells sessions apart, and these workers, each with a name of its own, share one
					}
					t.Run(fmt.Sprintf("%s/%s/%s", mode, way.Column, way.Note), func(t *testing.T) { excludes(t, mode, way) })
				}
			}
		})
	}
}

func start(t *testing.T, p peer.Peer) peer.Running {
	t.Helper()
	dir, err := os.MkdirTemp("", "sema-bench-test") // not t.TempDir: its parent is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	running, err := p.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	return running
}

func excludes(t *testing.T, mode load.Mode, way peer.Way) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	access, err := way.Open(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	one, two := dial(t, access, 0), dial(t, access, 1)
	if name := load.NewPrefix() + "/lock"; mode == load.Handoff {
		passesOn(t, ctx, one, two, name)
	} else {
		refuses(t, ctx, one, two, name)
	}
	for _, err := range []error{one.Close(), two.Close(), access.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func dial(t *testing.T, access *peer.Access, worker int) load.Locker {
	t.Helper()
	l, err := access.Dial(worker)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func refuses(t *testing.T, ctx context.Context, one, two load.Locker, name string) {
	t.Helper()
	try := func(who load.Locker, want bool) {
		t.Helper()
		if got, err := who.TryAcquire(ctx, name); got != want || err != nil {
			t.Fatalf("TryAcquire is %v, %v, want %v", got, err, want)
		}
	}
	release := func(who load.Locker) {
		t.Helper()
		if err := who.Release(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	try(one, true)
	try(two, false)
	try(two, false)
	release(one)
	try(two, true)
	try(one, false)
	release(two)
	try(one, true)
	release(one)
}

func passesOn(t *testing.T, ctx context.Context, one, two load.Locker, name string) {
	t.Helper()
	if err := one.Lock(ctx, name); err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() { locked <- two.Lock(ctx, name) }()
	select {
	case err := <-locked:
		t.Fatalf("both have it: %v", err)
	case <-time.After(100 * time.Millisecond): // a fault shows sooner; there is nothing else to wait for
	}
	if err := one.Release(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	if err := two.Release(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := one.Lock(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := one.Release(ctx, name); err != nil {
		t.Fatal(err)
	}
}
