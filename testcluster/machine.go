package testcluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memdisk"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// machine is what a node runs on, and survives it: a disk, clocks, a connection to
// the network, and a gate through which the node reaches them all.
type machine struct {
	id    string
	cfg   cluster.Config
	gate  gate.Gate
	net   *memnet.Host
	clock *clock
	disk  *memdisk.Disk
	harm  *raftHarm
	// ailing counts the faults of the disk that keep the node from serving.
	ailing atomic.Int32

	mu      sync.Mutex // guards what follows; not held while a node starts or ends
	node    *cluster.Node
	opening *opening // a node that starts; nil if none does
	state   *fsm.Machine
	joins   []string // where the other nodes are, for one that is not a founding member any more
	outage
}

// opening is the start of a node, which can be ended.
type opening struct {
	cancel context.CancelFunc
	over   chan struct{}
}

// restart starts a node where the last one has ended. If that was by itself, what
// is left of it is waited for.
func (m *machine) restart(ctx context.Context) error {
	if m.running() == nil {
		m.end(false)
	}
	return m.start(ctx)
}

// start opens a node on the machine.
func (m *machine) start(ctx context.Context) error {
	if m.running() != nil {
		return fmt.Errorf("node %s is running", m.id)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := &opening{cancel, make(chan struct{})}
	defer close(begun.over)
	cfg, err := m.begins(begun)
	if err != nil {
		return err
	}
	m.net.Up()
	node, err := cluster.Open(ctx, cfg)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.opening == begun {
		m.opening = nil
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", m.id, err)
	}
	m.node = node
	return nil
}

// running returns the node, or nil if there is none or it has ended.
func (m *machine) running() *cluster.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node == nil {
		return nil
	}
	select {
	case <-m.node.Done():
		return nil
	default:
	}
	if m.node.Err() != nil {
		return nil // it is ending
	}
	return m.node
}

// replica returns the state machine of the newest node.
func (m *machine) replica() *fsm.Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// cause returns why the node has ended by itself, or nil.
func (m *machine) cause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node == nil {
		return errors.New("it was stopped")
	}
	return m.node.Err()
}

// begins notes the start of a node, and returns its configuration.
func (m *machine) begins(o *opening) (cluster.Config, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cfg := m.cfg
	if len(m.joins) > 0 {
		cfg.Peers, cfg.Join = nil, m.joins
	}
	if m.out && !m.wanted {
		return cfg, fmt.Errorf("node %s was stopped before it had started", m.id)
	}
	m.opening = o
	return cfg, nil
}

// take takes the node from the machine, whatever its state.
func (m *machine) take() *cluster.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.node
	m.node = nil
	return node
}

// abort ends the start of a node, if one is under way, and waits. A machine that is out
// starts none until it is to run again.
func (m *machine) abort(powerCut bool) {
	m.mu.Lock()
	m.wanted = false
	begun := m.opening
	m.mu.Unlock()
	if begun == nil {
		return
	}
	begun.cancel()
	m.net.Down()
	m.disk.Cut(!powerCut)
	m.gate.Open()
	<-begun.over
}

// stop closes the node as its operator would, if there is one.
func (m *machine) stop() error {
	m.abort(false)
	node := m.take()
	if node == nil {
		return nil
	}
	m.gate.Open()
	return node.Close()
}

// kill ends the node this instant. Its machine is off if the power was cut; if
// it was only the process, the machine tells the others that its connections are gone.
func (m *machine) kill(powerCut bool) memdisk.Lost {
	m.abort(powerCut)
	return m.end(powerCut)
}

// end is kill of a node that has started.
func (m *machine) end(powerCut bool) memdisk.Lost {
	node := m.take()
	if node == nil {
		return memdisk.Lost{}
	}
	m.net.Down()
	gone := m.disk.Cut(!powerCut)
	m.gate.Open() // for what is left of the node: it reaches nothing any more
	node.Kill()
	if !powerCut {
		m.net.Up()
	}
	return gone
}

// well reports whether the node serves and has a vote, as far as its machine is concerned.
func (m *machine) well() bool { return m.serves() && !m.isOut() }

// serves reports whether the node serves, with a vote or without.
func (m *machine) serves() bool {
	return m.running() != nil && !m.gate.IsShut() && m.ailing.Load() == 0
}

// host is what the node runs on.
func (m *machine) host(onDisk bool) host.Host {
	h := host.Host{
		Network:       m.net,
		Clock:         m.clock,
		WrapTransport: m.harm.wrap,
		Opened: func(state *fsm.Machine) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.state = state
		},
	}
	if onDisk {
		h.WrapDisk = m.disk.Wrap
	} else {
		h.OpenDisk = m.disk.Open
	}
	return h
}
