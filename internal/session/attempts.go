package session

import (
	"crypto/rand"
	"sync"

	"github.com/semanode/sema"
)

// NewClientID returns an identity that nobody had before: 16 random bytes.
func NewClientID() (id sema.ClientID) {
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return id
}

// attempts numbers the acquires of one client and knows which are open. All
// methods may be called from many goroutines.
type attempts struct {
	mu   sync.Mutex // guards every lane too
	lane *lane      // where new attempts go
}

// lane is one client identity with its attempts. An attempt that stays open for
// long would keep the cluster from forgetting the answers to all that came after
// it. So when the window is full, new attempts go under a fresh identity, and the
// old lane is left to those that still use it.
type lane struct {
	of     *attempts // whose mu guards it
	client sema.ClientID
	lowest uint64 // the lowest open Seq, or next if none is open
	next   uint64 // the Seq that was not given out yet
	// open has a bit for each Seq from lowest to next, at Seq % MaxOpenAttempts.
	open [sema.MaxOpenAttempts / 64]uint64
}

// attempt is one that is open.
type attempt struct {
	lane *lane
	seq  uint64
}

func newAttempts(id sema.ClientID) *attempts {
	as := new(attempts)
	as.lane = as.newLane(id)
	return as
}

func (as *attempts) newLane(id sema.ClientID) *lane {
	return &lane{of: as, client: id, lowest: 1, next: 1}
}

// bit is where open has seq.
func bit(seq uint64) (word int, mask uint64) {
	seq %= sema.MaxOpenAttempts
	return int(seq / 64), 1 << (seq % 64)
}

// begin opens a new attempt.
func (as *attempts) begin() attempt {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.lane
	if l.next-l.lowest >= sema.MaxOpenAttempts {
		l = as.newLane(NewClientID())
		as.lane = l
	}
	a := attempt{lane: l, seq: l.next}
	word, mask := bit(a.seq)
	l.open[word] |= mask
	l.next++
	return a
}

// end closes an attempt whose answer is known or not wanted any more.
func (as *attempts) end(a attempt) {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := a.lane
	word, mask := bit(a.seq)
	l.open[word] &^= mask
	for l.lowest < l.next {
		if word, mask := bit(l.lowest); l.open[word]&mask != 0 {
			return
		}
		l.lowest++
	}
}

// wire is the attempt as requests carry it.
func (as *attempts) wire(a attempt) sema.Attempt {
	heard := as.heard(a.lane)
	heard.Seq = a.seq
	return heard
}

// heard tells the cluster which answers have arrived: what requests carry that
// are no attempt. The lane may be that of others; nil stands for the current one.
func (as *attempts) heard(l *lane) sema.Attempt {
	if l != nil && l.of != as {
		return l.of.heard(l)
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if l == nil {
		l = as.lane
	}
	return sema.Attempt{Client: l.client, LowestOpen: l.lowest}
}
