package memnet

import (
	"os"
	"sync"
	"time"
)

// turn lets one at a time read, or write, as a socket does: so one token is enough
// to wake whoever waits, and what is written at once arrives together.
type turn chan struct{}

// begin reports false if the connection was closed first.
func (t turn) begin(closed <-chan struct{}) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-closed:
		return false
	}
}

func (t turn) end() { <-t }

// deadline is when waiting ends; zero for never.
type deadline struct {
	mu sync.Mutex
	at time.Time
}

// set reports whether the deadline is sooner than before: later ones are found
// when the earlier one passes.
func (d *deadline) set(t time.Time) (sooner bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sooner = !t.IsZero() && (d.at.IsZero() || t.Before(d.at))
	d.at = t
	return sooner
}

func (d *deadline) get() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *deadline) passed() error {
	if at := d.get(); !at.IsZero() && !at.After(time.Now()) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait returns when there may be something new: news, the deadline, or what is due
// then, if due is not zero.
func (d *deadline) wait(news <-chan struct{}, due time.Time) {
	until := d.get()
	if until.IsZero() || !due.IsZero() && due.Before(until) {
		until = due
	}
	var over <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-news:
	case <-over:
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
