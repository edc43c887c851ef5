package cluster

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// How often the leader asks which entries the others know, at first and at most.
const (
	firstSurveyPeriod = 20 * time.Millisecond
	surveyPeriod      = time.Second
)

// level is up to which this node knows log entries.
func (n *Node) level() int { return cmp.Or(n.cfg.Host.Level, fsm.Level) }

// fit makes a command one that every member can decide. On whose account an acquire counts
// is left out until all know accounts: it is better that limits wait for the end of an
// upgrade than that callers do. Whatever else is too new is refused.
func (o *office) fit(c *fsm.Command) error {
	known := max(fsm.LevelBase, int(o.level.Load()))
	if c.Level() <= known {
		return nil
	}
	if c.Account != nil {
		c.Account = nil
	}
	if c.Level() > known {
		return sema.ErrUpgrading
	}
	return nil
}

// survey finds out up to which level all members know log entries, and has that decided
// by the log.
func (o *office) survey() {
	n, period := o.node, firstSurveyPeriod
	for int(o.level.Load()) < n.level() {
		if n.lowestLevel(o.ctx) > int(o.level.Load()) {
			if err := o.raise(); err != nil && o.ctx.Err() == nil {
				n.log.Warn("the log is not at the level that all members know; it is tried again", "error", err)
			}
		}
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(period):
			period = min(2*period, surveyPeriod)
		}
	}
}

// raise puts the mark of the level that all members know into the log, and proposes
// commands of that level from then on. What the members said when they were asked holds
// for no longer than that: one that knows less may join, or a member may go back to the
// version before. So they are asked again while nobody can join; and once the mark is
// decided, no node that knows less is taken in, and none that goes back starts.
func (o *office) raise() error {
	n := o.node
	return backend{n}.change(o.ctx, func(raft.Configuration) error {
		lowest := n.lowestLevel(o.ctx)
		if lowest <= int(o.level.Load()) {
			return nil
		}
		if _, err := o.await(o.launch([]*proposal{newProposal(fsm.Mark(lowest))})); err != nil {
			return err
		}
		o.level.Store(int32(lowest))
		n.log.Info("all members know log entries of a higher level", "level", lowest)
		return nil
	})
}

// lowestLevel is that of all members; one that does not answer may know nothing new.
func (n *Node) lowestLevel(ctx context.Context) int {
	lowest := n.level()
	membership := n.raft.GetConfiguration()
	if membership.Error() != nil {
		return fsm.LevelBase
	}
	for _, s := range membership.Configuration().Servers {
		if s.ID == n.member() {
			continue
		}
		i, err := n.ask(ctx, string(s.Address))
		if err != nil || i.ID != nodeID(s.ID) {
			return fsm.LevelBase
		}
		lowest = min(lowest, i.Level)
	}
	return lowest
}
