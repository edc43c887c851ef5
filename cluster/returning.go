package cluster

import "time"

// returning is whom the proposer waits for a moment. Under a steady load most of those
// who are answered together ask again together: an entry that is proposed just before
// they do has only those in it who came meanwhile, and from then on there are two
// groups, each half as large as it could be, and twice as many entries, each of which
// costs every node the same work. So after an entry with n commands the next is not
// proposed before most of n more have come, or as much time has passed as the entry
// took. If they did not come, which delays whoever was there once, they are not waited
// for after the next entry, and each time that happens again after twice as many.
type returning struct {
	want    int       // commands that are to wait; 0: none
	until   time.Time // and no longer
	skip    int       // how many entries they are not waited for
	penalty int       // how many the next time
}

// returnShare is how many of 100 are waited for.
const returnShare = 75

// maxPatience bounds how long: an entry can take long for other reasons.
const maxPatience = 20 * time.Millisecond

// maxSkip bounds how many entries nobody is waited for.
const maxSkip = 1024

// expect notes that commands may be about to come, after an entry that took so long;
// together with those that wait there will be n.
func (r *returning) expect(n int, took time.Duration) {
	if r.skip > 0 {
		r.skip--
		return
	}
	r.want, r.until = min(n*returnShare/100, maxProposed), time.Now().Add(min(took, maxPatience))
}

// awaitReturn waits for them; taken were taken out of the queue already.
func (o *office) awaitReturn(r *returning, taken int) {
	want := int64(r.want - taken)
	r.want = 0
	left := time.Until(r.until)
	if want <= 0 || left <= 0 {
		return
	}
	o.wakeAt.Store(want)
	defer o.wakeAt.Store(never)
	patience := time.NewTimer(left)
	defer patience.Stop()
	for o.queued.Load() < want {
		select {
		case <-o.enough: // or it is from the time before
		case <-patience.C:
			r.penalty = min(max(1, 2*r.penalty), maxSkip)
			r.skip = r.penalty
			return
		case <-o.ctx.Done():
			return
		}
	}
	r.penalty = 0
}

// never is more than there can be in the queue.
const never = 2 * queueLength
