package access

import (
	"sync"
	"time"
)

// meters count the calls of each identity. They outlive a change of the file.
type meters struct {
	mu sync.Mutex
	of map[string]*meter // bounded by the identities of the file
}

// meter is a token bucket (Turner, New Directions in Communications, 1986).
type meter struct {
	mu   sync.Mutex
	left float64 // calls that may come now; below zero after a large one
	at   time.Time
	told time.Time // when the last that was refused is to be told so
}

// Spend takes a call of the identity that costs this much, or says when to come again, with
// a [sema.LimitError]. A call whose cost is above what is left is taken if anything is: the
// next ones wait the longer. So a large one is possible at all, and the rate is kept.
//
// pause is how long to wait before whoever asked is told that it was refused: what is
// refused leaves at the identity's rate, too, as refusing costs others time.
func (c *Control) Spend(id *Identity, cost int) (pause time.Duration, err error) {
	if id.limits.Requests == 0 {
		return 0, nil
	}
	return c.meters.get(id.name).spend(id, cost, time.Now())
}

// Charge takes a call in any case: one that keeps or frees what the identity has. What it costs
// beyond what is left is a debt, so all others wait until it is paid. The debt is at most
// maxDebt of the rate, and beyond that the pause is as [Control.Spend] has it: somebody who
// floods with such calls is read from at the rate, too.
func (c *Control) Charge(id *Identity, cost int) (pause time.Duration) {
	if id.limits.Requests == 0 {
		return 0
	}
	return c.meters.get(id.name).charge(id, cost, time.Now())
}

// maxPause bounds what Spend and Charge return, and maxDebt is how long the others wait at most
// for what was charged.
const (
	maxPause = time.Second
	maxDebt  = 10 * time.Second
)

func (ms *meters) get(name string) *meter {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.of[name]
	if m == nil {
		if ms.of == nil {
			ms.of = map[string]*meter{}
		}
		m = new(meter)
		ms.of[name] = m
	}
	return m
}

// forget drops the meters of those who are not in the policy.
func (ms *meters) forget(p *Policy) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for name := range ms.of {
		if p.identities[name] == nil {
			delete(ms.of, name)
		}
	}
}

func (m *meter) spend(id *Identity, cost int, now time.Time) (pause time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rate := m.fill(id, now); m.left < 1 {
		return m.pace(rate, now), over(id, time.Duration((1-m.left)/rate*float64(time.Second)))
	}
	m.left -= float64(cost)
	return 0, nil
}

func (m *meter) charge(id *Identity, cost int, now time.Time) (pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rate := m.fill(id, now)
	least := min(m.left, -rate*maxDebt.Seconds())
	if m.left -= float64(cost); m.left < least {
		m.left = least
		pause = m.pace(rate, now)
	}
	return pause
}

// fill adds what has come since the last look. mu is held.
func (m *meter) fill(id *Identity, now time.Time) (rate float64) {
	rate, burst := float64(id.limits.Requests), float64(id.limits.Burst)
	if m.at.IsZero() {
		m.left = burst
	} else if since := now.Sub(m.at); since > 0 {
		m.left = min(burst, m.left+since.Seconds()*rate)
	}
	if now.After(m.at) {
		m.at = now
	}
	return rate
}

// pace is how long somebody is to wait who is beyond the rate. mu is held.
func (m *meter) pace(rate float64, now time.Time) time.Duration {
	if m.told.Before(now) {
		m.told = now
	}
	m.told = m.told.Add(time.Duration(float64(time.Second) / rate))
	if latest := now.Add(maxPause); m.told.After(latest) {
		m.told = latest
	}
	return m.told.Sub(now)
}
