package cluster

import (
	"cmp"
	"context"
	"time"

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

// survey finds out up to which level all members know log entries. A level that was
// reached stays: something was, or may have been, decided at it.
func (o *office) survey() {
	n, period := o.node, firstSurveyPeriod
	for int(o.level.Load()) < n.level() {
		if lowest := n.lowestLevel(o.ctx); lowest > int(o.level.Load()) {
			o.level.Store(int32(lowest))
			n.log.Info("all members know log entries of a higher level", "level", lowest)
		}
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(period):
			period = min(2*period, surveyPeriod)
		}
	}
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
