package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The first bytes of a connection between nodes: "SEMA", version, kind, cluster
// id, and whom it is for: a length byte and a member, see [Mux.Admit]; none is whoever
// it is. The other side answers with one byte, and the stream begins.
const (
	helloMagic   = "SEMA"
	helloVersion = 2
	helloSize    = len(helloMagic) + 2 + 16 + 1
	maxMember    = 128              // bytes
	maxGuests    = 64               // at a time: each asks one question
	helloTimeout = 3 * time.Second  // for the TLS handshake, too
	maxHellos    = 2 * maxStrangers // with those that were closed and have not noticed yet
)

const (
	helloOK           = 1
	helloOtherCluster = 2
	helloOtherVersion = 3
	helloUnknownKind  = 4
	helloOtherNode    = 5
	helloNoMember     = 6
	helloSpeakTLS     = 7
)

// refusalOf is why somebody is turned away.
var refusalOf = map[byte]error{
	helloOtherCluster: errors.New("it belongs to another cluster: check --peers and --cluster-name on both"),
	helloOtherVersion: errors.New("it speaks another version of the protocol between nodes"),
	helloUnknownKind:  errors.New("it wants a kind of stream that is not known here"),
	helloOtherNode:    errors.New("another node has that address now"),
	helloNoMember:     errors.New("it is no member of the cluster yet, or no more"),
	helloSpeakTLS:     errors.New("one of the two nodes speaks TLS and the other does not: give both --peer-tls-ca and a node's certificate"),
}

// introduce tells the node that was dialled who this is, and hears whether it is welcome.
func (m *Mux) introduce(ctx context.Context, own *muxConn, hello []byte) (net.Conn, error) {
	deadline := time.Now().Add(helloTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := own.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn, known, err := m.shakeHands(own, tls.Client)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it ended the TLS handshake without a word: does it speak TLS?")
	case err != nil:
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil { // in TLS 1.3, also that it does not take our certificate
		return nil, fmt.Errorf("no answer to the introduction: %w", err)
	}
	if refusal := refusalOf[answer[0]]; refusal != nil {
		return nil, fmt.Errorf("introduction refused: %w", refusal)
	} else if answer[0] != helloOK {
		return nil, fmt.Errorf("introduction refused with code %d", answer[0])
	}
	known()
	return conn, own.SetDeadline(time.Time{})
}

// meet finds out who has connected, and what for.
func (m *Mux) meet(own *muxConn) (net.Conn, StreamKind, error) {
	if err := own.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, 0, err
	}
	conn, known, err := m.shakeHands(own, tls.Server)
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) {
		if string(plain.RecordHeader[:len(helloMagic)]) != helloMagic {
			return nil, 0, errors.New("it does not speak TLS")
		}
		_, _ = own.Write([]byte{helloSpeakTLS}) // so that its log says it, too
		return nil, 0, refusalOf[helloSpeakTLS]
	}
	if err != nil {
		return nil, 0, fmt.Errorf("TLS handshake: %w", err)
	}
	kind, err := m.hear(conn)
	if err != nil {
		return nil, 0, err
	}
	known()
	return conn, kind, own.SetDeadline(time.Time{})
}

// hear reads an introduction and answers it.
func (m *Mux) hear(conn io.ReadWriter) (StreamKind, error) {
	var hello [helloSize]byte
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return 0, fmt.Errorf("no introduction: %w", err)
	}
	if string(hello[:len(helloMagic)]) != helloMagic {
		if hello[0] == 0x16 && hello[1] == 3 && m.cfg.TLS == nil { // the first bytes of a TLS handshake
			return 0, refusalOf[helloSpeakTLS]
		}
		return 0, errNoNode
	}
	rest := hello[len(helloMagic):]
	var name [maxMember]byte
	n := 0
	if rest[0] == helloVersion { // what another one has there nobody knows
		if n = int(rest[len(rest)-1]); n > maxMember {
			return 0, errNoNode
		}
		if _, err := io.ReadFull(conn, name[:n]); err != nil {
			return 0, fmt.Errorf("no introduction: %w", err)
		}
	}
	kind := StreamKind(rest[1])
	code := m.judge(rest[0], kind, [16]byte(rest[2:]), name[:n])
	_, err := conn.Write([]byte{code})
	if refusal := refusalOf[code]; refusal != nil {
		return 0, refusal
	}
	return kind, err
}

var errNoNode = errors.New("it is not a node of Sema")

// judge answers an introduction.
func (m *Mux) judge(version byte, kind StreamKind, cluster [16]byte, member []byte) (code byte) {
	ours, self := m.self()
	switch {
	case version != helloVersion:
		return helloOtherVersion
	case m.streams[kind] == nil:
		return helloUnknownKind
	case kind == GuestStream:
		return helloOK
	case ours == [16]byte{}: // it does not know it yet
		return helloNoMember
	case cluster != ours:
		if kind == RaftStream && len(member) > 0 && string(member) == self && m.cfg.Claimed != nil {
			m.cfg.Claimed()
		}
		return helloOtherCluster
	case kind == RaftStream && self == "":
		return helloNoMember
	case len(member) > 0 && string(member) != self:
		return helloOtherNode
	}
	return helloOK
}
