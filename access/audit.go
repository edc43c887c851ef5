package access

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
)

// A denial is logged once a minute for each identity, address and right, with a count of those
// that were not; of more than maxDenied of these only together. So a flood of them is
// some 260 lines a minute at the most.
const (
	deniedEvery = time.Minute
	maxDenied   = 256
)

// audit logs what somebody may have to answer for.
type audit struct {
	log hclog.Logger

	mu     sync.Mutex
	denied map[denier]*denials // at most maxDenied, and one for all others
}

// denier is who was denied what. Zero: all for whom there is no room.
type denier struct{ identity, host, right string }

// rightOf is the right that a denial is about, "" if there is none.
func rightOf(err error) string {
	if denied := (*sema.DeniedError)(nil); errors.As(err, &denied) {
		return denied.Right
	}
	return ""
}

type denials struct {
	since      time.Time // of the line that was logged
	suppressed int
}

// Audit logs that an identity has done, or tried, something that others may want to know of:
// ended somebody's hold, or changed the cluster. details are for hclog.
func (c *Control) Audit(action, identity, from string, err error, details ...any) {
	args := append([]any{"identity", identity, "from", from}, details...)
	if err != nil {
		c.audit.log.Warn(action+" failed", append(args, "error", err)...)
		return
	}
	c.audit.log.Info(action, args...)
}

// Denied logs a call that was refused. identity is "" if nobody knows who called. from is
// the address, whose port is of no matter.
func (c *Control) Denied(identity, from, method string, err error) {
	c.audit.denial(time.Now(), identity, from, method, err)
}

func (a *audit) denial(now time.Time, identity, from, method string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host, _, splitErr := net.SplitHostPort(from)
	if splitErr != nil {
		host = from
	}
	who := denier{identity, host, rightOf(err)}
	d := a.denied[who]
	if d == nil {
		if len(a.denied) >= maxDenied {
			who = denier{}
			d = a.denied[who]
		}
		if d == nil {
			d = new(denials)
			if a.denied == nil {
				a.denied = map[denier]*denials{}
			}
			a.denied[who] = d
		}
	}
	if !d.since.IsZero() && now.Sub(d.since) < deniedEvery {
		d.suppressed++
		return
	}
	args := []any{"identity", identity, "from", from, "method", method, "error", err}
	if d.suppressed > 0 {
		args = append(args, "suppressed", d.suppressed)
	}
	d.since, d.suppressed = now, 0
	a.log.Warn("denied", args...)
}

// flush tells of denials that were not logged and are not followed by one that is, and
// forgets who has not been denied anything of late.
func (a *audit) flush(now time.Time, all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for who, d := range a.denied {
		if !all && now.Sub(d.since) < deniedEvery {
			continue
		}
		if d.suppressed == 0 {
			delete(a.denied, who)
			continue
		}
		args := []any{"identity", who.identity, "from", who.host, "right", who.right, "suppressed", d.suppressed}
		if who == (denier{}) {
			args = []any{"suppressed", d.suppressed, "of", "many identities and addresses"}
		}
		a.log.Warn("denied more", args...)
		d.since, d.suppressed = now, 0
	}
}
