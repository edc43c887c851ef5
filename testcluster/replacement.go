package testcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// What becomes of a machine whose disk was lost: an operator removes its node from the
// cluster, and starts it on an empty disk as a new member. Until that one has its vote
// the machine is out.

// outage is what a machine whose disk was lost knows of it. Its mutex guards it.
type outage struct {
	out      bool  // since its disk was lost, until its node has a vote again
	losses   int   // of its disk, ever
	mending  bool  // an operator is at work
	wanted   bool  // the node is to run: it was not killed again
	returned int64 // how often a node has come back as a new member with a vote
	trouble  error // why it has none yet
	failure  error // why the operator gave up
}

// errNobody is the trouble that a machine has before an operator has tried.
var errNobody = errors.New("nobody has brought it back yet")

// The operator tries again after retryPeriod; each try takes operatorTimeout at most.
const (
	retryPeriod     = 500 * time.Millisecond
	operatorTimeout = 10 * time.Second
)

// memberFaults are those of the membership.
func memberFaults() []Fault {
	return []Fault{
		{
			Name: "disk-lost", About: "a machine loses its disk and all that is on it; an operator removes its node and starts it empty, as a new member",
			MinFor: 500 * time.Millisecond, MaxFor: 90 * time.Second,
			Applies: func(c *Cluster, on string) bool { return spared(c, on) && c.founded() == nil },
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				m := c.machine(on)
				before := m.cameBack()
				err := c.loseDisk(m)
				c.replace(m)
				return Injury{
					Undo:  func() error { return errors.Join(err, c.revive(m)) },
					Proof: did("came back as a new member:", func() int64 { return m.cameBack() - before }),
				}
			},
		},
	}
}

// loseDisk ends the node on a machine, and the machine gets an empty disk.
func (c *Cluster) loseDisk(m *machine) error {
	m.mu.Lock()
	m.out, m.trouble, m.failure = true, nil, nil
	m.losses++
	m.joins = nil
	for _, id := range c.others(m.id) {
		m.joins = append(m.joins, id+":"+raftPort)
	}
	m.mu.Unlock()
	m.kill(true)
	if c.opts.OnDisk {
		return os.RemoveAll(m.cfg.DataDir)
	}
	m.disk.Wipe()
	return nil
}

// replace has an operator bring back a machine whose disk was lost. It returns at once:
// the operator needs others that other faults may have taken away.
func (c *Cluster) replace(m *machine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = true
	if m.out && !m.mending && m.failure == nil && c.service.Err() == nil {
		m.mending = true
		c.operators.Go(func() { c.operate(m) })
	}
}

// operate is one operator, until the machine has a member with a vote again.
func (c *Cluster) operate(m *machine) {
	for {
		losses := m.lost()
		err := c.bringBack(m, losses)
		m.mu.Lock()
		if m.losses != losses && c.service.Err() == nil {
			m.mu.Unlock()
			continue // the new disk was lost, too
		}
		m.mending = false
		if m.failure = err; err == nil {
			m.out = false
			m.returned++
		}
		m.mu.Unlock()
		return
	}
}

// bringBack removes the node of a machine and starts it as a new one, until that has a
// vote, or loses its disk.
func (c *Cluster) bringBack(m *machine, losses int) error {
	if err := c.removeNode(m); err != nil {
		return err
	}
	for m.lost() == losses {
		var trouble error
		if m.running() == nil && m.isWanted() {
			if err := m.cause(); errors.Is(err, sema.ErrMembership) {
				return fmt.Errorf("node %s was removed, started with an empty disk, and is not taken in: %w", m.id, err)
			}
			trouble = m.restart(c.service) // tried again: other faults may be there
		}
		if trouble == nil {
			trouble = c.votes(m)
		}
		if trouble == nil {
			return nil
		}
		if err := c.rest(m, trouble); err != nil {
			return err
		}
	}
	return nil
}

// removeNode removes a node that is gone, as often as it takes.
func (c *Cluster) removeNode(m *machine) error {
	operator, err := c.operator()
	if err != nil {
		return err
	}
	for {
		ctx, cancel := context.WithTimeout(c.service, operatorTimeout)
		err := operator.RemoveNode(ctx, m.id, false)
		cancel()
		if err == nil || errors.Is(err, sema.ErrNotFound) {
			return nil
		}
		if err := c.rest(m, err); err != nil {
			return err
		}
	}
}

// rest passes the time between two tries, of which one had this trouble. It fails when
// the cluster ends.
func (c *Cluster) rest(m *machine, trouble error) error {
	m.mu.Lock()
	m.trouble = trouble
	m.mu.Unlock()
	select {
	case <-time.After(retryPeriod):
		return nil
	case <-c.service.Done():
		return c.service.Err()
	}
}

// votes returns nil if the node of a machine is a member with a vote, and that is
// committed: what was decided by the log after the leader has looked comes after it.
func (c *Cluster) votes(m *machine) error {
	leader := c.leading()
	if leader == nil || m.running() == nil {
		return fmt.Errorf("%s does not run, or nobody leads", m.id)
	}
	ctx, cancel := context.WithTimeout(c.service, operatorTimeout)
	defer cancel()
	term := nodeStatus(leader).Term
	st, err := leader.Backend().Status(ctx, transport.StatusRequest{})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(st.Nodes, func(n transport.NodeStatus) bool { return n.ID == m.id && n.Voter }) {
		return fmt.Errorf("%s has no vote yet", m.id)
	}
	if _, err := leader.Get(ctx, "nothing"); err != nil && !errors.Is(err, sema.ErrNotFound) {
		return err
	}
	if nodeStatus(leader).Term != term {
		return errors.New("another leads")
	}
	return nil
}

// founded reports why not every node that runs takes part in the cluster yet: until they
// all do, a founding member that loses its disk ends the founding for all.
func (c *Cluster) founded() error {
	for _, m := range c.machines {
		if n := m.running(); n != nil && !m.isOut() && !n.Identify(transport.Introduction{}).Founded {
			return fmt.Errorf("%s does not take part yet", m.id)
		}
	}
	return nil
}

// operator is the client of whoever looks after the cluster. No fault strikes its machine.
func (c *Cluster) operator() (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caretaker != nil {
		return c.caretaker, nil
	}
	var endpoints []string
	for _, id := range c.IDs() {
		endpoints = append(endpoints, id+":"+grpcPort)
	}
	cl, err := c.newClient("operator", c.opts.Seed, endpoints)
	if err == nil {
		c.caretaker = cl
	}
	return cl, err
}

// outWhy tells why a machine is out, nil if it is not.
func (m *machine) outWhy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.out:
		return nil
	case m.failure != nil:
		return fmt.Errorf("%s has lost its disk and did not come back: %w", m.id, m.failure)
	}
	return fmt.Errorf("%s has lost its disk and is not a member with a vote again: %w", m.id, cmp.Or(m.trouble, errNobody))
}

func (m *machine) isOut() bool { return m.outWhy() != nil }

func (m *machine) isWanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted
}

// lost returns how often the machine has lost its disk.
func (m *machine) lost() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.losses
}

// cameBack returns how often its node has come back as a new member.
func (m *machine) cameBack() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.returned
}
