package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// absentAfter is how many attempts to send entries must have failed in a row. After that
	// many raft pauses for 40 ms.
	absentAfter = 4
	// absenceWait is how long an attempt waits. It bounds how long raft goes on sending to a
	// member that was removed, or of a term that is over; after six minutes, that is
	// six attempts more, raft pauses for 5 s between them.
	absenceWait = time.Minute
)

// absences has raft send entries to a member as soon as that can be reached again.
//
// Raft pauses after each attempt that failed, twice as long as after the one before, up to 10 s,
// and nothing ends the pause: a member that was away for ten seconds is sent nothing
// for up to ten more, in which the cluster can do without one member less. After a
// heartbeat that failed it pauses for half of an election timeout at most. So when a few
// attempts have failed the next does not, but waits until a heartbeat is answered.
type absences struct {
	ended chan struct{}

	mu sync.Mutex
	of map[raft.ServerID]*absence
}

type absence struct {
	failed int           // attempts
	back   chan struct{} // closed when the member answers
}

func newAbsences() *absences {
	return &absences{ended: make(chan struct{}), of: map[raft.ServerID]*absence{}}
}

// wait returns when the member is not absent, or may be tried all the same.
func (a *absences) wait(id raft.ServerID) {
	back := a.absent(id)
	if back == nil {
		return
	}
	limit := time.NewTimer(absenceWait)
	defer limit.Stop()
	select {
	case <-back:
	case <-limit.C:
	case <-a.ended:
	}
}

// absent returns what is closed when the member is back, nil if it is not absent.
func (a *absences) absent(id raft.ServerID) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if of := a.of[id]; of != nil && of.failed >= absentAfter {
		return of.back
	}
	return nil
}

// failed notes that an attempt to send entries to a member, or a snapshot, has failed.
func (a *absences) failed(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of[id] == nil {
		a.of[id] = &absence{back: make(chan struct{})}
	}
	a.of[id].failed++
}

// answered notes that a member has answered to anything.
func (a *absences) answered(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if of := a.of[id]; of != nil {
		close(of.back)
		delete(a.of, id)
	}
}

// isHeartbeat reports whether raft asks with it whether a member lives, and nothing else.
func isHeartbeat(args *raft.AppendEntriesRequest) bool {
	return args.PrevLogEntry == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}
