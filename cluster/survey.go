package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strings"
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

// After how long a leader says that limits do not count, as some member has not been heard
// from or is too old, and how often it says so again.
const (
	uncountedPatience = 3 * time.Second
	uncountedPeriod   = 10 * time.Minute
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
	tell := time.Now().Add(uncountedPatience)
	for int(o.level.Load()) < n.level() {
		lowest, behind := n.lowestLevel(o.ctx)
		if lowest > int(o.level.Load()) {
			if err := o.raise(); err != nil && o.ctx.Err() == nil {
				n.log.Warn("the log is not at the level that all members know; it is tried again", "error", err)
			}
		} else if len(behind) > 0 && !time.Now().Before(tell) && o.uncounted() && o.ctx.Err() == nil {
			tell = time.Now().Add(uncountedPeriod)
			n.log.Warn("limits of holds and tickets do not count yet: all members have to run, once at the same time, with a version that knows them; start those, or remove them (semanode remove)",
				"missing", strings.Join(behind, ", "))
		}
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(period):
			period = min(2*period, surveyPeriod)
		}
	}
}

// uncounted reports whether there are limits that do not count, because not all members
// know them.
func (o *office) uncounted() bool {
	return int(o.level.Load()) < fsm.LevelAccounts && o.node.access != nil && o.node.access.Policy().Counts()
}

// raise puts the mark of the level that all members know into the log, and proposes
// commands of that level from then on. What the members said when they were asked holds
// for no longer than that: one that knows less may join, or a member may go back to the
// version before. So they are asked again while nobody can join; and once the mark is
// decided, no node that knows less is taken in, and none that goes back starts.
func (o *office) raise() error {
	n := o.node
	return backend{n}.change(o.ctx, func(raft.Configuration) error {
		lowest, _ := n.lowestLevel(o.ctx)
		if lowest <= int(o.level.Load()) {
			return nil
		}
		if _, err := o.await(o.launch([]*proposal{newProposal(fsm.Mark(lowest))})); err != nil {
			return err
		}
		uncounted := o.uncounted()
		o.level.Store(int32(lowest))
		n.log.Info("all members know log entries of a higher level", "level", lowest)
		if uncounted && !o.uncounted() {
			n.log.Info("limits of holds and tickets count from now on")
		}
		return nil
	})
}

// lowestLevel is that of all members; one that does not answer may know nothing new. It
// also says who does not answer, or knows less than this node.
func (n *Node) lowestLevel(ctx context.Context) (lowest int, behind []string) {
	membership := n.raft.GetConfiguration()
	if membership.Error() != nil {
		return fsm.LevelBase, nil
	}
	lowest = n.level()
	for _, s := range membership.Configuration().Servers {
		if s.ID == n.member() {
			continue
		}
		id, level := nodeID(s.ID), fsm.LevelBase
		i, err := n.ask(ctx, string(s.Address))
		if err == nil && i.ID == id {
			level = max(level, i.Level)
		}
		switch {
		case err != nil:
			behind = append(behind, id+" (does not answer)")
		case i.ID != id:
			behind = append(behind, fmt.Sprintf("%s (%s has its address now)", id, i.ID))
		case level < n.level():
			behind = append(behind, id+" (older version)")
		}
		lowest = min(lowest, level)
	}
	return lowest, behind
}
