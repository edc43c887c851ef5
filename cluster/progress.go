package cluster

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// maxBehind is how many committed entries a node that is ready may have to apply.
	maxBehind = 1000
	// progressLook is how often a leader is asked how far the log is committed.
	progressLook = time.Second
	// readyLook is how often one who waits for a node to be ready looks at it.
	readyLook = 10 * time.Millisecond
)

// progress is how far the log is committed, as leaders in office have said since the node
// started. What raft knows of it on a follower ends with the follower's own log, however
// far behind that is. Its zero value has heard nobody.
type progress struct {
	first atomic.Uint64 // what the first one said; 0: none has
	last  atomic.Uint64 // the highest
}

// told notes what a leader in office says. One goroutine calls it.
func (p *progress) told(committed uint64) {
	p.last.Store(max(p.last.Load(), committed))
	p.first.CompareAndSwap(0, committed)
}

// behind returns in words what a node lacks that has applied so much, or nothing. It must
// have all that was committed when it started, and may lag a little from then on.
func (p *progress) behind(applied, committed uint64) string {
	first := p.first.Load()
	last := max(p.last.Load(), committed)
	switch {
	case first == 0:
		return "no leader has told yet how far the log goes: can this node reach the leader's raft address?"
	case applied < first, last > applied+maxBehind:
		return fmt.Sprintf("%d committed entries are not applied yet", max(last, applied)-applied)
	}
	return ""
}
