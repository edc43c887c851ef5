package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema/client"
)

// BenchmarkHandOver hands one lock round many waiters of one client, against three
// processes: an operation is an unlock, the grant to the head of the line, and
// the last owner's return to the end of it. It tells what a waiter takes of the
// leader's memory, too.
func BenchmarkHandOver(b *testing.B) {
	for _, waiters := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) { handOver(b, waiters) })
	}
}

func handOver(b *testing.B, waiters int) {
	nodes := startNodes(b, 3)
	c := nodes.client()
	ctx, cancel := context.WithCancel(context.Background())
	lock, err := c.Lock(ctx, "a", client.LockOptions{})
	if err != nil {
		b.Fatal(err)
	}
	leader := nodes.processes[nodes.leader(c)].cmd.Process.Pid
	before := resident(b, leader)
	granted := make(chan *client.Lock)
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for {
				lock, err := c.Lock(ctx, "a", client.LockOptions{})
				if err != nil {
					if ctx.Err() == nil {
						b.Error(err)
					}
					return
				}
				granted <- lock
			}
		})
	}
	full := func(n int) func() bool {
		return func() bool {
			info, err := c.Get(within(b), "a")
			return err == nil && info.Waiting >= n
		}
	}
	eventually(b, "all are in line", full(waiters))
	each := float64(resident(b, leader)-before) / float64(waiters)

	for b.Loop() {
		if err := lock.Unlock(ctx); err != nil {
			b.Fatal(err)
		}
		lock = <-granted
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hand-overs/s")
	if waiters >= 1000 {
		b.ReportMetric(each, "leader-B/waiter")
	}
	began := time.Now()
	cancel()
	go func() { // those that were granted at the last moment
		for range granted {
		}
	}()
	wg.Wait()
	close(granted)
	b.ReportMetric(time.Since(began).Seconds(), "s-to-cancel-all")
	if info, err := c.Get(within(b), "a"); err != nil || info.Waiting != 0 {
		b.Errorf("in the end: %+v, %v", info, err)
	}
}

// resident is a process's memory in bytes.
func resident(b *testing.B, pid int) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip(err)
	}
	match := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		b.Skip("no VmRSS")
	}
	kb, _ := strconv.Atoi(string(match[1]))
	return kb << 10
}
