// Package host is what a node needs of the machine it runs on: a network, a disk,
// two clocks. A node takes them from the operating system unless it is given
// others, which is what package testcluster does. It is internal because a lock
// service is no safer than its disk: nobody plugs one in by accident.
package host

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
)

// Host is a machine. What is nil is the operating system's.
type Host struct {
	// Network carries what nodes and clients say.
	Network Network
	// OpenDisk opens the machine's disk, in place of a data directory. Whatever was
	// synced before, by a node that may have been killed, is on it.
	OpenDisk func() (Disk, error)
	// WrapDisk, if there is a data directory, puts something before it.
	WrapDisk func(Disk) Disk
	// Clock tells cluster time and wall-clock time. raft's own timers do not ask it.
	Clock Clock
	// WrapTransport puts something before raft's transport.
	WrapTransport func(raft.Transport) raft.Transport
	// Level, unless zero, is up to which a node knows log entries, like one of an older
	// version: for tests of clusters of several versions.
	Level int
	// Opened is told about the state machine before raft runs.
	Opened func(*fsm.Machine)
}

// Network is how a node reaches others and is reached.
type Network interface {
	Listen(ctx context.Context, addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Disk keeps what must survive a node: log, votes and snapshots. What a call has
// written is on stable storage when it returns without an error.
type Disk interface {
	raft.LogStore
	raft.StableStore
	raft.SnapshotStore
	io.Closer
}

// Clock is a machine's two clocks.
type Clock interface {
	// Monotonic counts from any moment, on and on, at the machine's own rate.
	Monotonic() time.Duration
	// Wall is the time of day, as far as the machine knows it, without a monotonic
	// reading: the difference of two tells whether it was set.
	Wall() time.Time
}

// System returns the operating system's host, with Network and Clock.
func System() Host { return Host{Network: tcp{}, Clock: &systemClock{start: time.Now()}} }

// WithDefaults returns h with the operating system's for what is missing.
func (h Host) WithDefaults() Host {
	system := System()
	if h.Network == nil {
		h.Network = system.Network
	}
	if h.Clock == nil {
		h.Clock = system.Clock
	}
	return h
}

type tcp struct{}

// Listen implements [Network].
func (tcp) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

// Dial implements [Network].
func (tcp) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

type systemClock struct{ start time.Time }

// Monotonic implements [Clock].
func (c *systemClock) Monotonic() time.Duration { return time.Since(c.start) }

// Wall implements [Clock].
func (c *systemClock) Wall() time.Time { return time.Now().Round(0) }
