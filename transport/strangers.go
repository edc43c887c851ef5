package transport

import (
	"container/list"
	"errors"
	"net"
	"sync"
)

// maxStrangers bounds the connections of one port that have not introduced themselves
// yet, and maxStrangerBytes what is read of each until it has.
const (
	maxStrangers     = 1024
	maxStrangerBytes = 64 << 10
)

// strangers are the connections that have not introduced themselves yet. When there is no
// room for another, the oldest gives up its place: of a flood of connections that say
// nothing it is the silent ones that go, while whoever means it is done in milliseconds.
type strangers struct {
	most int

	mu   sync.Mutex
	line list.List // of net.Conn, the oldest first
}

// come gives a connection a place. The caller closes the one that had to go for it, if any.
func (s *strangers) come(conn net.Conn) (place *list.Element, gone net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line.Len() >= s.most {
		gone = s.line.Remove(s.line.Front()).(net.Conn)
	}
	return s.line.PushBack(conn), gone
}

// oldest takes out the connection that has a place for longest, nil if none has.
func (s *strangers) oldest() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line.Len() == 0 {
		return nil
	}
	return s.line.Remove(s.line.Front()).(net.Conn)
}

// leave gives up a place, as often as one likes.
func (s *strangers) leave(place *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line.Remove(place)
}

var errTalkative = errors.New("it sent more than an introduction takes, and did not introduce itself")

// bounded is a connection of which no more than left bytes are read, until known is called.
// That and Read must not run at the same time.
type bounded struct {
	net.Conn
	left int // -1: any number
}

func (b *bounded) Read(p []byte) (int, error) {
	switch {
	case b.left < 0:
		return b.Conn.Read(p)
	case b.left == 0:
		return 0, errTalkative
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) known() { b.left = -1 }
