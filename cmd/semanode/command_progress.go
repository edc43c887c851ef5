package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/semanode/sema"
)

// muteFor is after how long without an answer people are told that there is none.
const muteFor = 5 * time.Second

// progress tells people about a wait in line, from a goroutine of its own: the
// wait must not depend on whether somebody reads.
type progress struct {
	lock    *lock
	places  chan sema.Place // the latest only
	stop    chan struct{}
	running sync.WaitGroup
}

// reportProgress starts it; end stops it and waits.
func (l *lock) reportProgress() *progress {
	p := &progress{lock: l, places: make(chan sema.Place, 1), stop: make(chan struct{})}
	p.running.Go(p.run)
	return p
}

func (p *progress) end() {
	close(p.stop)
	p.running.Wait()
}

// moved is told the place in line, by one goroutine at a time.
func (p *progress) moved(place sema.Place) {
	select {
	case <-p.places: // nobody has read it, and it is old
	default:
	}
	p.places <- place
}

func (p *progress) run() {
	mute := time.NewTimer(muteFor)
	defer mute.Stop()
	said := ""
	for {
		select {
		case <-p.stop:
			return
		case <-mute.C:
			p.lock.say(fmt.Sprintf("no answer about %q yet: still trying", p.lock.name))
		case place := <-p.places:
			mute.Stop()
			line := inLine(place)
			if line != said { // another node may have told it again
				p.lock.say(line)
			}
			said = line
		}
	}
}
