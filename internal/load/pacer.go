package load

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// rough is how far Go's own timers may be off: where the process is otherwise idle,
// the runtime waits in whole milliseconds. The rest is a [sleeper]'s.
const rough = 1500 * time.Microsecond

// pacer says when units are due, in a goroutine of its own. Its channel has no
// buffer: while all workers are busy it waits for one, and what is due meanwhile is
// a backlog that costs no memory.
type pacer struct {
	run  *run
	rate float64
	due  chan time.Duration // of the next unit
	next atomic.Int64       // the unit that was not handed out yet

	// What was due within the window and has not begun, and how late the oldest was.
	// Written at the end.
	backlog int64
	oldest  time.Duration
}

// sleeper sleeps more precisely than Go's timers, for a few milliseconds at most.
type sleeper interface {
	sleep(time.Duration) error
	close() error
}

func newPacer(r *run) *pacer {
	return &pacer{run: r, rate: r.cfg.Rate, due: make(chan time.Duration)}
}

// at is when a unit is due.
func (p *pacer) at(unit int64) time.Duration {
	return p.run.began + time.Duration(float64(unit)/p.rate*float64(time.Second))
}

// dueBy is how many units are due before a moment.
func (p *pacer) dueBy(t time.Duration) int64 {
	return max(0, int64(math.Ceil((t-p.run.began).Seconds()*p.rate)))
}

// pace hands out units until the run says stop.
func (p *pacer) pace() error {
	fine, err := newSleeper()
	if err != nil {
		return fmt.Errorf("load: a timer: %w", err)
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for err == nil {
		p.skipWarmup()
		at := p.at(p.next.Load())
		var over bool
		if over, err = p.sleepUntil(at, timer, fine); over || err != nil {
			break
		}
		select {
		case p.due <- at:
			p.next.Add(1)
			continue
		case <-p.run.stop:
		}
		break
	}
	p.settle()
	return errors.Join(err, fine.close())
}

// skipWarmup drops, when the window begins, what is late by then: the window would
// begin with a backlog that is not its own.
func (p *pacer) skipWarmup() {
	if first := p.dueBy(p.run.from); p.next.Load() < first && p.run.now() >= p.run.from {
		p.next.Store(first)
	}
}

// sleepUntil reports whether the run was over before.
func (p *pacer) sleepUntil(at time.Duration, timer *time.Timer, fine sleeper) (over bool, err error) {
	for {
		left := at - p.run.now()
		if left <= 0 {
			return false, nil
		}
		if left <= rough {
			if err := fine.sleep(left); err != nil {
				return false, err
			}
			continue
		}
		timer.Reset(left - rough)
		select {
		case <-timer.C:
		case <-p.run.stop:
			return true, nil
		}
	}
}

// late is how many units are due by now and have not begun.
func (p *pacer) late() int64 { return max(0, p.dueBy(p.run.now())-p.next.Load()) }

// settle counts what has not begun of what was due within the window.
func (p *pacer) settle() {
	end := p.run.end()
	oldest := max(p.next.Load(), p.dueBy(p.run.from))
	if p.backlog = max(0, p.dueBy(end)-oldest); p.backlog > 0 {
		p.oldest = end - p.at(oldest)
	}
}
