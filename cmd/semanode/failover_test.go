package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// slow is what no start and no failover takes, also on a machine that is busy
// with other things. They take about a second.
const slow = 15 * time.Second

var kills = flag.Int("kills", 3, "how many leaders TestLeaderIsKilled kills")

// The leader is killed, again and again, while a client acquires and releases
// without pause. The client needs no help, no acknowledged hold is lost, and
// tokens only rise.
func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := startNodes(t, 3)
	started := time.Since(began)
	t.Logf("start to leader known by all: %v", started)
	if started > slow {
		t.Errorf("the start took %v", started)
	}
	admin := c.client()
	load := startLoad(t, c.client())

	var deadTimes []time.Duration
	for range *kills {
		load.goesOn(t, "before the leader is killed")
		leader := c.leader(admin)
		c.processes[leader].kill()
		took := load.nextAcquire(t, time.Now())
		deadTimes = append(deadTimes, took)
		t.Logf("%s killed, next acquire after %v", localID(leader), took)
		c.start(leader)
		c.whole(admin)
	}
	slices.Sort(deadTimes)
	t.Logf("kill to next acquire: p50 %v, max %v of %d", deadTimes[len(deadTimes)/2], deadTimes[len(deadTimes)-1], len(deadTimes))
	if most := deadTimes[len(deadTimes)-1]; most > slow {
		t.Errorf("the next acquire took %v", most)
	}
	load.end(t)
	load.check(t, admin)
}

// steadyLoad is a client that acquires and releases without pause, and what it was
// told.
type steadyLoad struct {
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	acquired []ack       // in order
	kept     []sema.Info // holds that it did not release
	fault    error
}

// ack is an acknowledged acquire.
type ack struct {
	token uint64
	at    time.Time
}

// startLoad starts the load. Every tenth hold is kept.
func startLoad(t testing.TB, c *client.Client) *steadyLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &steadyLoad{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for i := 0; ctx.Err() == nil; i++ {
			if err := l.cycle(ctx, c, i); err != nil && ctx.Err() == nil {
				l.mu.Lock()
				l.fault = err
				l.mu.Unlock()
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-l.done })
	return l
}

// cycle is an acquire, and a release unless the hold is kept.
func (l *steadyLoad) cycle(ctx context.Context, c *client.Client, i int) error {
	keep := i%10 == 0
	name := "load"
	if keep {
		name = fmt.Sprintf("kept/%06d", i)
	}
	info, err := c.Acquire(ctx, name, "load", time.Hour)
	if err != nil {
		return fmt.Errorf("acquire %s: %w", name, err)
	}
	if info.Status != sema.Acquired {
		return fmt.Errorf("acquire %s, which is free: %+v", name, info)
	}
	l.mu.Lock()
	l.acquired = append(l.acquired, ack{info.Token, time.Now()})
	if keep {
		l.kept = append(l.kept, info)
	}
	l.mu.Unlock()
	if keep {
		return nil
	}
	if err := c.Release(ctx, name); err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	return nil
}

// since returns how many acquires were acknowledged after a moment, when the
// first of them was, and what went wrong.
func (l *steadyLoad) since(moment time.Time) (n int, first time.Time, fault error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.acquired)
	for i > 0 && l.acquired[i-1].at.After(moment) {
		i--
		first = l.acquired[i].at
	}
	return len(l.acquired) - i, first, l.fault
}

// goesOn waits until a hundred more acquires were acknowledged.
func (l *steadyLoad) goesOn(t testing.TB, when string) {
	t.Helper()
	now := time.Now()
	eventually(t, "the load goes on "+when, func() bool {
		n, _, fault := l.since(now)
		must(t, fault)
		return n >= 100
	})
}

// nextAcquire waits for the first acquire that was acknowledged after the death
// of a leader, and returns how long after it that was. What was on its way when
// it died does not count.
func (l *steadyLoad) nextAcquire(t testing.TB, died time.Time) (took time.Duration) {
	t.Helper()
	eventually(t, "an acquire is acknowledged after the leader's death", func() bool {
		n, first, fault := l.since(died.Add(20 * time.Millisecond))
		must(t, fault)
		took = first.Sub(died)
		return n > 0
	})
	return took
}

func (l *steadyLoad) end(t testing.TB) {
	t.Helper()
	l.stop()
	<-l.done
	must(t, l.fault)
}

// check compares what the load was told with what the cluster knows.
func (l *steadyLoad) check(t testing.TB, c *client.Client) {
	t.Helper()
	last := uint64(0)
	for i, a := range l.acquired {
		if a.token <= last {
			t.Fatalf("acquire %d was given token %d after token %d", i, a.token, last)
		}
		last = a.token
	}
	for _, kept := range l.kept {
		held, err := c.Get(within(t), kept.Name)
		if err != nil || held.Token != kept.Token || held.Owner != kept.Owner {
			t.Errorf("acknowledged %+v, and now it is %+v, %v", kept, held, err)
		}
	}
	t.Logf("%d acquires were acknowledged, %d holds kept", len(l.acquired), len(l.kept))
	if len(l.kept) < 5 {
		t.Error("too few to say anything")
	}
}

// All nodes are killed at once and started again: everything acknowledged
// stands, with the time it had left. While nobody leads, no hold grows older.
func TestAllAreKilled(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3)
	cl := c.client()
	load := startLoad(t, c.client())
	load.goesOn(t, "before all are killed")
	const timeout = 3 * time.Second
	short, err := cl.Acquire(within(t), "short", "alice", timeout)
	must(t, err)
	sent := time.Now()
	c.killAll()
	load.stop()
	<-load.done
	eventually(t, "more than the hold's timeout has passed on the wall", func() bool { return time.Since(sent) > timeout })

	began := time.Now()
	c.startAll()
	other := c.client()
	seen, err := other.Acquire(within(t), "short", "bob", timeout)
	must(t, err)
	t.Logf("start to first answer: %v", time.Since(began))
	if seen.Status != sema.OwnedBySomeoneElse || seen.Token != short.Token {
		t.Errorf("%v was held for %v of its time and is now %v", short, timeout, seen)
	}
	load.check(t, cl)

	eventually(t, "the time that the hold had left has passed", func() bool {
		seen, err = other.Acquire(within(t), "short", "bob", timeout)
		must(t, err)
		return seen.Status != sema.OwnedBySomeoneElse
	})
	if seen.Status != sema.ForcedReleased || seen.Token != short.Token || seen.Owner != "alice" {
		t.Errorf("the hold %v ended as %v", short, seen)
	}
	if left := time.Since(began); left > patience/2 {
		t.Errorf("it had %v left of %v", left, timeout)
	}
	mine, err := other.Acquire(within(t), "short", "bob", timeout)
	if err != nil || mine.Status != sema.Acquired || mine.Token <= load.acquired[len(load.acquired)-1].token {
		t.Errorf("after it: %v, %v", mine, err)
	}
}

// A leader that is told to stop hands over first: nobody waits for an election.
func TestLeaderHandsOver(t *testing.T) {
	t.Parallel()
	const election = 2 * time.Second
	c := startNodes(t, 3, "--election-timeout", election.String())
	load := startLoad(t, c.client())
	load.goesOn(t, "before the leader is stopped")
	leader := c.processes[c.leader(c.client())]
	stopped := time.Now()
	leader.signal(syscall.SIGTERM)
	if r := leader.result(); r.code != exitDone {
		t.Errorf("after SIGTERM: %+v", r)
	}
	t.Logf("the leader stopped within %v", time.Since(stopped))
	load.goesOn(t, "after the leader is stopped")
	gap := load.longestGap(stopped)
	t.Logf("longest time without an acquire: %v", gap)
	if gap >= election {
		t.Errorf("no acquire for %v: the others waited for the election timeout of %v", gap, election)
	}
	load.end(t)
}

// longestGap is the longest time between two acknowledgements after since.
func (l *steadyLoad) longestGap(since time.Time) (gap time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 1; i < len(l.acquired); i++ {
		if l.acquired[i].at.After(since) {
			gap = max(gap, l.acquired[i].at.Sub(l.acquired[i-1].at))
		}
	}
	return gap
}

// With one node of three left nothing is decided, and the answer says whom was
// asked. What needs no leader is answered all the same.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3)
	sh := shell{t, c.endpoints()}
	_, mine := sh.json("acquire", "a", "--timeout", "1h")
	cl := c.client()
	c.whole(cl)
	leader := c.leader(cl)
	for i, p := range c.processes {
		if i != leader {
			p.kill()
		}
	}
	var asking []*process
	for _, args := range [][]string{
		{"acquire", "b"},
		{"touch", "a", "--token", mine["token"].(string)},
		{"release", "a", "--token", mine["token"].(string)},
		{"get", "a"},
		{"list"},
	} {
		asking = append(asking, start(t, append(args, "--rpc-timeout", "3s", "--endpoints", c.endpoints())...))
	}
	for _, p := range asking {
		r := p.result()
		contains(t, r.fault(t, exitFailed), c.grpc...)
		if r.stdout != "" {
			t.Errorf("semanode %s printed %q", p.args, r.stdout)
		}
	}
	if _, held := sh.json("get", "a", "--stale"); held["holderToken"] != mine["token"] {
		t.Errorf("the node that is left knows %v, not %v", held, mine)
	}
	eventually(t, "the leader has stepped down", func() bool { return semanode(t, "status", "--endpoints", c.endpoints()).code == exitFailed })
	r := sh.run("status")
	contains(t, r.fault(t, exitFailed), "no leader", c.grpc[leader])
	contains(t, r.stdout, "unreachable", "\n"+localID(leader)+"  ")
}
