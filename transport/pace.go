package transport

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
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
)

// pacedConn is the connection of a client, above TLS.
type pacedConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once

	// Of the goroutine that reads.
	frames frameScanner
	credit float64
	at     time.Time // when credit was counted

	mu   sync.Mutex
	held int           // refusals
	open int           // health watches, see [watches]
	room chan struct{} // closed when held falls below maxHeld again; nil: nobody waits
	next time.Time     // when the next call that is not allowed may be told of it
}

func newPacedConn(conn net.Conn) *pacedConn {
	return &pacedConn{Conn: conn, closed: make(chan struct{}), credit: firstCredit, at: time.Now()}
}

// Read implements [net.Conn].
func (c *pacedConn) Read(b []byte) (int, error) {
	c.await()
	n, err := c.Conn.Read(b)
	opened, useless := c.frames.scan(b[:n])
	c.credit += float64(opened)/2 - float64(useless)
	return n, err
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

// frameScanner looks at what a client sends over HTTP/2 (RFC 9113), as it comes, and counts.
// It judges nothing: what is malformed is gRPC's to refuse.
type frameScanner struct {
	preface int // of it, how much was seen
	skip    uint32
	header  [9]byte
	have    int // of header
}

// scan counts the calls that were opened, and the frames that only cost.
func (f *frameScanner) scan(b []byte) (opened, useless int) {
	if missing := len(http2.ClientPreface) - f.preface; missing > 0 {
		n := min(missing, len(b))
		f.preface += n
		b = b[n:]
	}
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, uint32(len(b)))
			f.skip -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < len(f.header) {
			break
		}
		f.have = 0
		f.skip = binary.BigEndian.Uint32(f.header[:]) >> 8
		switch http2.FrameType(f.header[3]) {
		case http2.FrameHeaders:
			opened++
		case http2.FrameRSTStream, http2.FrameSettings, http2.FramePriority:
			useless++
		}
	}
	return opened, useless
}

// pacedCreds are credentials of a server that reads from its clients with [pacedConn].
type pacedCreds struct {
	credentials.TransportCredentials
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
	return paced, pacedInfo{info, paced}, nil
}

// Clone implements [credentials.TransportCredentials].
func (c pacedCreds) Clone() credentials.TransportCredentials {
	return pacedCreds{c.TransportCredentials.Clone()}
}

// authOf returns what a peer has shown, and its connection if that is paced.
func authOf(p *peer.Peer) (credentials.AuthInfo, *pacedConn) {
	if paced, ok := p.AuthInfo.(pacedInfo); ok {
		return paced.AuthInfo, paced.conn
	}
	return p.AuthInfo, nil
}
