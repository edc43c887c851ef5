package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// What a client may cost that nothing is gained by. It is made to wait, not hung up on: who
// does it by mistake notices only that it is slow, and who does it on purpose could come
// again at once. It waits by not being read from, which costs this node nothing and everyone
// else goes on.
const (
	// creditPerSecond is how many calls a connection may open and reset at once (HTTP/2
	// rapid reset, CVE-2023-44487) a second, besides one for every second call that it
	// opens: who gives up half of its calls is never held up.
	creditPerSecond = 1000
	// firstCredit is what a new connection has, so that a new one is worth less than its
	// handshake. mostCredit is for all calls to be given up at once.
	firstCredit = 100
	mostCredit  = maxStreams
	// maxHeld bounds the refusals of a connection that wait to be told.
	maxHeld = 256
	// denialPause is for each call that is not allowed. Those over the rate of an identity
	// are paced at that rate, see [access.Control.Spend].
	denialPause = time.Millisecond
	// maxPause bounds how long a refusal waits: a client is to learn of it.
	maxPause = time.Second
	// mostUnfinished bounds the bytes of a connection's messages that have begun and not
	// ended: gRPC keeps them, of as many calls as there are. mostOfStranger is for those
	// whose identity is not known, where one is asked for.
	mostUnfinished = 8 * MaxMessageBytes
	mostOfStranger = 64 << 10
	// messageTime is how long something of a message that has begun may stay away,
	// longestMessage how long all of it.
	messageTime    = 10 * time.Second
	longestMessage = time.Minute
)

var (
	errUnfinished = errors.New("a message that it has begun does not go on")
	errGreedy     = errors.New("it has begun too many messages that it does not end")
)

// pacedConn is the connection of a client, above TLS.
type pacedConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once

	identified atomic.Bool // it is no stranger's
	place      *admittedConn
	refusals   *refusals

	// Of the goroutine that reads.
	frames frameScanner
	credit float64
	at     time.Time // when credit was counted
	until  time.Time // the read deadline; zero: none

	mu   sync.Mutex
	held int           // refusals
	open int           // health watches, see [watches]
	room chan struct{} // closed when held falls below maxHeld again; nil: nobody waits
	next time.Time     // when the next call that is not allowed may be told of it
}

func newPacedConn(conn net.Conn) *pacedConn {
	return &pacedConn{Conn: conn, refusals: newRefusals(nil), closed: make(chan struct{}), credit: firstCredit, at: time.Now()}
}

// Read implements [net.Conn].
func (c *pacedConn) Read(b []byte) (int, error) {
	c.await()
	if err := c.hurry(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	opened, useless := c.frames.scan(b[:n])
	c.credit += float64(opened)/2 - float64(useless)
	most := mostUnfinished
	if !c.identified.Load() {
		most = mostOfStranger
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errUnfinished
	case err == nil && c.frames.pending > most:
		err = errGreedy
	}
	if err == errUnfinished || err == errGreedy {
		c.refusals.tell("hung up on a client", "from", c.RemoteAddr(), "reason", err)
	}
	return n, err
}

// hurry sets until when something of the messages that have begun has to come.
func (c *pacedConn) hurry() error {
	if c.frames.pending == 0 {
		if !c.until.IsZero() {
			c.until = time.Time{}
			return c.SetReadDeadline(c.until)
		}
		return nil
	}
	now := time.Now()
	oldest := c.frames.oldest(now)
	if now.Sub(oldest) > longestMessage {
		return errUnfinished
	}
	c.until = oldest.Add(messageTime)
	if soon := now.Add(time.Second); c.until.Before(soon) {
		c.until = soon
	}
	return c.SetReadDeadline(c.until)
}

// known is told that the connection is no stranger's.
func (c *pacedConn) known() {
	if !c.identified.Swap(true) && c.place != nil {
		c.place.known()
	}
}

// await waits until the connection may be read from, or is closed.
func (c *pacedConn) await() {
	for room := c.full(); room != nil; room = c.full() {
		select {
		case <-room:
		case <-c.closed:
			return
		}
	}
	if c.credit >= 0 {
		c.credit = min(c.credit, mostCredit)
		return
	}
	now := time.Now()
	c.credit = min(c.credit+creditPerSecond*now.Sub(c.at).Seconds(), 0)
	if c.at = now; c.credit == 0 { // it was away for long enough
		return
	}
	debt := time.NewTimer(time.Duration(-c.credit / creditPerSecond * float64(time.Second)))
	defer debt.Stop()
	select {
	case c.at = <-debt.C:
		c.credit = 0
	case <-c.closed:
	}
}

// full returns what is closed when there is room for another refusal, nil if there is.
func (c *pacedConn) full() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held < maxHeld {
		return nil
	}
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room
}

// hold waits before a client is told that it was refused.
func (c *pacedConn) hold(ctx context.Context, pause time.Duration) {
	c.mu.Lock()
	c.held++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held--; c.held < maxHeld && c.room != nil {
			close(c.room)
			c.room = nil
		}
	}()
	over := time.NewTimer(pause)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	case <-c.closed:
	}
}

// denied returns how long to wait before a call that is not allowed is told so.
func (c *pacedConn) denied() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.next.Before(now) {
		c.next = now
	}
	c.next = c.next.Add(denialPause)
	if latest := now.Add(maxPause); c.next.After(latest) {
		c.next = latest
	}
	return c.next.Sub(now)
}

// Close implements [net.Conn].
func (c *pacedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// pacedCreds are credentials of a server that reads from its clients with [pacedConn].
type pacedCreds struct {
	credentials.TransportCredentials
	refusals   *refusals
	identities bool // there is a gate, which tells who is known
}

// pacedInfo is the AuthInfo of such a connection.
type pacedInfo struct {
	credentials.AuthInfo
	conn *pacedConn
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c pacedCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return conn, info, err
	}
	paced := newPacedConn(conn)
	paced.refusals = c.refusals
	paced.place, _ = raw.(*admittedConn)
	if !c.identities {
		paced.known()
	}
	return paced, pacedInfo{info, paced}, nil
}

// Clone implements [credentials.TransportCredentials].
func (c pacedCreds) Clone() credentials.TransportCredentials {
	return pacedCreds{c.TransportCredentials.Clone(), c.refusals, c.identities}
}

// authOf returns what a peer has shown, and its connection if that is paced.
func authOf(p *peer.Peer) (credentials.AuthInfo, *pacedConn) {
	if paced, ok := p.AuthInfo.(pacedInfo); ok {
		return paced.AuthInfo, paced.conn
	}
	return p.AuthInfo, nil
}
