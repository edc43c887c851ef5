package transport_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/semanode/sema/transport"
)

// introduction is one side of a connection: what it says, and what it is answered.
type introduction struct {
	says   *bytes.Reader
	answer bytes.Buffer
}

func (i *introduction) Read(p []byte) (int, error)  { return i.says.Read(p) }
func (i *introduction) Write(p []byte) (int, error) { return i.answer.Write(p) }

// welcome reports whether an introduction to member n1 of cluster 1 is one, by other means.
func welcome(data []byte) bool {
	if len(data) < len(hello) || string(data[:5]) != "SEMA\x02" {
		return false
	}
	kind, cluster, n := transport.StreamKind(data[5]), data[6:22], int(data[22])
	if n > 128 || len(data) < len(hello)+n {
		return false
	}
	switch kind {
	case transport.GuestStream:
		return true
	case transport.RaftStream, transport.GRPCStream:
		member := string(data[23 : 23+n])
		return bytes.Equal(cluster, hello[6:22]) && (member == "" || member == "n1")
	}
	return false
}

// FuzzHello introduces anything to the raft port of cluster 1: let in is only who says
// exactly what is to be said, and little of what follows is read.
func FuzzHello(f *testing.F) {
	f.Add(hello)
	f.Add(hello[:len(hello)-1])
	f.Add(append(bytes.Clone(hello), "more"...))
	f.Add([]byte("SEMA\x02\x01"))
	f.Add(append(bytes.Clone(hello[:22]), "\x02n1"...))
	f.Add(append(bytes.Clone(hello[:22]), "\x02n2"...))
	f.Add(append(bytes.Clone(hello[:22]), "\xff"+strings.Repeat("n", 255)...))
	f.Add(append([]byte("SEMA\x02\x03"), make([]byte, 17)...))
	f.Add([]byte("SEMA\x01\x01"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and a ClientHello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := &introduction{says: bytes.NewReader(data)}
		kind, err := transport.HearHello(conn)
		if good := welcome(data); (err == nil) != good {
			t.Fatalf("kind %d, %v, want welcome %v", kind, err, good)
		}
		if answer := conn.answer.Bytes(); len(answer) > 1 || err == nil && !bytes.Equal(answer, []byte{1}) || err != nil && bytes.Equal(answer, []byte{1}) {
			t.Fatalf("it is answered %x: %v", answer, err)
		}
		if read := len(data) - conn.says.Len(); read > len(hello)+128 {
			t.Fatalf("%d bytes were read", read)
		}
	})
}
