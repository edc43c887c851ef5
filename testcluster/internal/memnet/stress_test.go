package memnet_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// crowd is many who talk over a network while it is hurt: each counts aloud, and each
// listener hears 1, 2, 3 and so on until the connection ends.
type crowd struct {
	t     *testing.T
	net   *memnet.Network
	hosts []*memnet.Host
	gates []gate.Gate
	stop  context.Context
	heard atomic.Int64
	wg    sync.WaitGroup
}

func TestManyConnectionsWhileTheNetworkIsHurt(t *testing.T) {
	t.Run("in virtual time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { crowded(t, 2000) })
	})
	t.Run("in real time", func(t *testing.T) { crowded(t, 200) })
}

func crowded(t *testing.T, hurts int) {
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{t: t, net: memnet.New(memnet.Latency{Max: time.Millisecond}, seed), gates: make([]gate.Gate, 4), stop: ctx}
	for i := range c.gates {
		c.hosts = append(c.hosts, c.net.Host(fmt.Sprintf("h%d", i), &c.gates[i]))
	}
	for _, h := range c.hosts {
		c.wg.Go(func() { c.listen(h) })
		for i := range 8 {
			c.wg.Go(func() { c.talk(h, rand.New(rand.NewPCG(seed, uint64(i)))) })
		}
	}
	c.hurt(hurts, rand.New(rand.NewPCG(seed, 99)))
	<-time.After(20 * time.Millisecond) // all is well again
	if c.heard.Load() < int64(hurts) {
		t.Errorf("only %d numbers were heard", c.heard.Load())
	}
	stop()
	_ = c.net.Close()
	c.wg.Wait()
	want(t, "connections that the network remembers", c.net.Remembered(), 0)
}

// hurt does one thing after the other to the network, and undoes it all.
func (c *crowd) hurt(times int, chance *rand.Rand) {
	pick := func() int { return chance.IntN(len(c.hosts)) }
	var wg sync.WaitGroup
	defer wg.Wait()
	during := func(undo func()) {
		d := time.Duration(chance.IntN(10_000)) * time.Microsecond
		wg.Go(func() { <-time.After(d); undo() })
	}
	for range times {
		i, from, to := pick(), fmt.Sprintf("h%d", pick()), fmt.Sprintf("h%d", pick())
		switch chance.IntN(6) {
		case 0:
			during(c.net.Impose(&memnet.Rule{Block: true, Match: oneWay(from, to)}))
		case 1:
			during(c.net.Impose(&memnet.Rule{Delay: time.Millisecond, Jitter: time.Millisecond, Match: oneWay(from, to)}))
		case 2:
			during(c.net.Impose(&memnet.Rule{Loss: 0.01, Match: oneWay(from, to)}))
		case 3:
			c.net.Reset(oneWay(from, to))
		case 4:
			c.hosts[i].Down()
			during(c.hosts[i].Up)
		case 5:
			c.gates[i].Shut()
			during(c.gates[i].Open)
		}
		<-time.After(time.Millisecond)
	}
}

// listen accepts as long as the test lasts, again after the machine was down.
func (c *crowd) listen(h *memnet.Host) {
	for c.stop.Err() == nil {
		l, err := h.Listen(c.stop, ":7")
		if err != nil {
			c.t.Error(err)
			return
		}
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			c.wg.Go(func() { c.hear(conn) })
		}
		<-time.After(time.Millisecond)
	}
}

// hear checks that numbers come in order.
func (c *crowd) hear(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var number [8]byte
	for next := uint64(1); ; next++ {
		if _, err := io.ReadFull(conn, number[:]); err != nil {
			return
		}
		if got := binary.BigEndian.Uint64(number[:]); got != next {
			c.t.Errorf("%v heard %d, want %d", conn.LocalAddr(), got, next)
			return
		}
		c.heard.Add(1)
	}
}

// talk counts aloud to one machine after the other.
func (c *crowd) talk(h *memnet.Host, chance *rand.Rand) {
	for c.stop.Err() == nil {
		ctx, cancel := context.WithTimeout(c.stop, 20*time.Millisecond)
		conn, err := h.Dial(ctx, fmt.Sprintf("h%d:7", chance.IntN(len(c.hosts))))
		cancel()
		if err != nil {
			<-time.After(time.Millisecond)
			continue
		}
		for number := uint64(1); number < 100 && err == nil; number++ {
			_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err = conn.Write(binary.BigEndian.AppendUint64(nil, number))
			<-time.After(time.Duration(chance.IntN(1000)) * time.Microsecond)
		}
		if err := errors.Join(conn.SetDeadline(time.Time{}), conn.Close()); err != nil {
			c.t.Error(err)
		}
	}
}
