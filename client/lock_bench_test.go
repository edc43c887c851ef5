package client_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
)

// BenchmarkKeepAlive keeps locks of one client alive, over a cluster of three in
// this process, on real disks and over loopback: an operation is one beat, which
// goes out every third of the timeout.
func BenchmarkKeepAlive(b *testing.B) {
	endpoints := benchCluster(b)
	for _, locks := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("locks=%d", locks), func(b *testing.B) {
			c, err := client.New(client.Config{Endpoints: endpoints})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			held := lockMany(b, c, locks)
			for b.Loop() {
				if !c.Beat() {
					b.Fatal("a beat failed")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(locks), "ns/lock")
			for _, l := range held {
				if err := l.Context().Err(); err != nil {
					b.Fatal(err)
				}
			}
			each(held, func(l *client.Lock) {
				if err := l.Unlock(context.Background()); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func lockMany(b *testing.B, c *client.Client, n int) []*client.Lock {
	b.Helper()
	held := make([]*client.Lock, n)
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	each(index, func(i int) {
		var err error
		if held[i], err = c.Lock(context.Background(), fmt.Sprintf("keep-%d", i), client.LockOptions{Timeout: 10 * time.Minute}); err != nil {
			b.Error(err)
		}
	})
	if b.Failed() {
		b.FailNow()
	}
	return held
}

// each does something to each of many, a few hundred at a time.
func each[T any](all []T, do func(T)) {
	var wg sync.WaitGroup
	room := make(chan struct{}, 256)
	for _, one := range all {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			do(one)
		})
	}
	wg.Wait()
}

// benchCluster starts three nodes and returns where they serve.
func benchCluster(b *testing.B) (endpoints []string) {
	b.Helper()
	var peers []cluster.Peer
	for i := range 3 {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		peers = append(peers, cluster.Peer{ID: fmt.Sprintf("n%d", i+1), Addr: lis.Addr().String()})
		lis.Close()
	}
	for _, p := range peers {
		n, err := cluster.Open(context.Background(), cluster.Config{ID: p.ID, DataDir: b.TempDir(), RaftAddr: p.Addr, GRPCAddr: "127.0.0.1:0", Peers: peers})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Close() })
		endpoints = append(endpoints, n.GRPCAddr())
	}
	return endpoints
}
