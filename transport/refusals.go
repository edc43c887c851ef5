package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// What strangers can make a node write to its log: so many lines in so much time.
const (
	refusalLines = 20
	refusalsPer  = 10 * time.Second
)

// refusals logs who was turned away, one line each. A flood must not fill the disk, so
// what comes too often is counted instead, and the next line tells the number.
type refusals struct {
	log hclog.Logger

	mu     sync.Mutex
	since  time.Time // when the lines below were begun to be counted
	lines  int
	untold int
}

func newRefusals(log hclog.Logger) *refusals {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &refusals{log: log}
}

func (r *refusals) tell(message string, args ...any) {
	r.mu.Lock()
	now := time.Now()
	if now.Sub(r.since) >= refusalsPer {
		r.since, r.lines = now, 0
	}
	if r.lines >= refusalLines {
		r.untold++
		r.mu.Unlock()
		return
	}
	r.lines++
	if r.untold > 0 {
		args = append(args, "not logged before it", r.untold)
		r.untold = 0
	}
	r.mu.Unlock()
	r.log.Warn(message, args...)
}
