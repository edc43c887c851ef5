package transport

import (
	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/transport/semav1"
)

// The state machine remembers each client that an attempt names, so as how many of them an
// identity makes calls is counted where they come in, see [access.Control.Client].

// asClient counts the client of a call that was allowed. A new one beyond the limit is refused
// or, if the call keeps or gives back a hold by its token, taken out of it: that is carried
// out for no client, and nobody is remembered.
func (c *caller) asClient(id *access.Identity, a *sema.Attempt, byToken bool) error {
	err := c.control.Client(id, a.Client)
	if err != nil && byToken {
		*a = sema.Attempt{}
		return nil
	}
	return err
}

// undoes reports whether a release is one by attempt, for which its client is remembered.
func undoes(token uint64, a *sema.Attempt) bool { return token == 0 && a.Seq != 0 }

// clientOf is asClient for a call of its own, whose request is m. Each that has an attempt is
// counted. One that cannot be read is refused by whoever is to carry the call out.
func (c *caller) clientOf(method string, m any) error {
	with, ok := m.(interface{ GetAttempt() *semav1.Attempt })
	if !ok {
		return nil
	}
	given, err := attemptFromWire(with.GetAttempt())
	if err != nil {
		return nil
	}
	release, isRelease := m.(*semav1.ReleaseRequest)
	a, undo := given, isRelease && undoes(release.GetToken(), &given)
	err = c.asClient(c.judged.id, &a, keeps[method] && !undo)
	if a != given {
		with.GetAttempt().Reset()
	}
	return err
}
