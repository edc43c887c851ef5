package transport

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

// caller is who makes a call, or has opened a stream, on the client port.
type caller struct {
	control *access.Control
	token   string            // "": none was shown
	cert    *x509.Certificate // verified; nil: none was shown
	refused error             // why what was shown counts for nothing
	from    string            // address
	is      atomic.Pointer[known]

	conn     *pacedConn      // nil: it is trusted
	stopping context.Context // the server is
	owes     time.Duration   // before the next answer; of the goroutine that asks may
	judged   *known          // by whom the latest call was allowed; of the same goroutine
}

// known is who a caller is by one policy.
type known struct {
	policy  *access.Policy
	id      *access.Identity // nil with err
	account *Account
	err     error // matches sema.ErrUnauthenticated
}

// caller reads what the call shows. A token counts for more than a certificate: it was
// shown on purpose.
func (g *gate) caller(ctx context.Context) *caller {
	c := &caller{control: g.control, from: "unknown", stopping: g.stopping}
	p, ok := peer.FromContext(ctx)
	if !ok {
		p = new(peer.Peer)
	}
	if p.Addr != nil {
		c.from = p.Addr.String()
	}
	auth, conn := authOf(p)
	c.conn = conn
	tls, secure := auth.(credentials.TLSInfo)
	if chains := tls.State.VerifiedChains; secure && len(chains) > 0 && len(chains[0]) > 0 {
		c.cert = chains[0][0]
	}
	switch values := metadata.ValueFromIncomingContext(ctx, "authorization"); {
	case len(values) == 0:
		return c
	case len(values) > 1:
		c.refused = fmt.Errorf("%w: more than one authorization", sema.ErrUnauthenticated)
	case !secure && !g.insecureTokens && !isLoopback(p.LocalAddr):
		c.refused = fmt.Errorf("%w: a token that came without TLS counts for nothing: others can read it on the way; use TLS, and a new token", sema.ErrUnauthenticated)
	default:
		scheme, token, found := strings.Cut(values[0], " ")
		if c.token = token; !found || !strings.EqualFold(scheme, "Bearer") || token == "" {
			c.refused = fmt.Errorf("%w: authorization is not \"Bearer TOKEN\"", sema.ErrUnauthenticated)
		}
	}
	return c
}

// isLoopback reports whether a connection to this address comes from this machine.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// known returns who the caller is now.
func (c *caller) known() *known {
	policy := c.control.Policy()
	if k := c.is.Load(); k != nil && k.policy == policy {
		return k
	}
	k := &known{policy: policy, err: c.refused}
	switch {
	case k.err != nil:
	case c.token != "":
		k.id, k.err = policy.ByToken(c.token)
	case c.cert != nil:
		k.id, k.err = policy.ByCertificate(c.cert)
	default:
		k.err = sema.ErrUnauthenticated
	}
	if k.id != nil {
		k.account = newAccount(k.id)
		if c.conn != nil {
			c.conn.known()
		}
	}
	c.is.Store(k)
	return k
}

// may is nil if the caller may have a call of this cost decided. Nothing of the cluster's
// state is looked at.
func (c *caller) may(method string, cost int, allowed func(*access.Identity) error) error {
	return c.judge(c.known(), method, cost, allowed)
}

// judge is may by what the caller is known as.
func (c *caller) judge(k *known, method string, cost int, allowed func(*access.Identity) error) error {
	err := k.err
	if err == nil {
		err = allowed(k.id)
	}
	if err != nil {
		c.control.Denied(k.name(), c.from, method, err)
		if c.conn != nil {
			c.owes = max(c.owes, c.conn.denied())
		}
		return err
	}
	c.judged = k
	if cost == 0 {
		return nil
	}
	return c.spend(k.id, cost, keeps[method])
}

// spend takes a call of this cost. One that keeps, or gives back, what its caller has is
// taken in any case: to refuse it would cost somebody a hold.
func (c *caller) spend(id *access.Identity, cost int, keeps bool) (err error) {
	var pause time.Duration
	if keeps {
		pause = c.control.Charge(id, cost)
	} else {
		pause, err = c.control.Spend(id, cost)
	}
	c.owes = max(c.owes, pause)
	return err
}

// settle waits for as long as the caller is to, after calls that were refused.
func (c *caller) settle(ctx context.Context) {
	pause := min(c.owes, maxPause)
	if c.owes = 0; pause == 0 || c.conn == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.stopping, cancel)()
	c.conn.hold(ctx, pause)
}

// mayCall is may for a call of an exchange.
func (c *caller) mayCall(call *Call) error {
	right := callNeeds[0]
	if int(call.Method) < len(callNeeds) {
		right = callNeeds[call.Method]
	}
	k := c.known()
	if k.err == nil && k.id.Has(right, call.Name) { // without a closure: it is the rule
		call.Account = k.account
		keeps := call.Method == MethodTouch || call.Method == MethodRelease
		if err := c.spend(k.id, 1, keeps); err != nil {
			return err
		}
		undo := call.Method == MethodRelease && undoes(call.Token, &call.Attempt)
		return c.asClient(k.id, &call.Attempt, keeps && !undo)
	}
	return c.judge(k, "Exchange", 0, func(id *access.Identity) error { return id.May(right, call.Name) })
}

// name is the identity's, "" if the caller is nobody that is known.
func (c *caller) name() string { return c.known().name() }

func (k *known) name() string {
	if k.id != nil {
		return k.id.Name()
	}
	return ""
}

type callerKey struct{}

type accountOf struct{}

// withJudged is the context of a call that was allowed, which has the account that this was
// decided by: the rules may change before it is used.
func withJudged(ctx context.Context, a *Account) context.Context {
	return context.WithValue(ctx, accountOf{}, a)
}

// callerOf returns who makes the call of this context. nil: there is no access control, or
// the call comes from a node or from within this process.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}
