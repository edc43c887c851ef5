package transport_test

import (
	"bytes"
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

// FuzzHello introduces anything to the raft port of cluster 1: let in is only who says
// exactly what is to be said, and nothing of what follows is read.
func FuzzHello(f *testing.F) {
	f.Add(hello)
	f.Add(hello[:len(hello)-1])
	f.Add(append(bytes.Clone(hello), "more"...))
	f.Add([]byte("SEMA\x02\x01"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and a ClientHello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := &introduction{says: bytes.NewReader(data)}
		kind, err := transport.HearHello(conn)
		asked := bytes.Clone(hello)
		asked[5] = byte(kind)
		good := bytes.HasPrefix(data, asked) && (kind == transport.RaftStream || kind == transport.GRPCStream)
		if (err == nil) != good {
			t.Fatalf("kind %d, %v", kind, err)
		}
		if answer := conn.answer.Bytes(); len(answer) > 1 || err == nil && !bytes.Equal(answer, []byte{1}) || err != nil && bytes.Equal(answer, []byte{1}) {
			t.Fatalf("it is answered %x: %v", answer, err)
		}
		if read := len(data) - conn.says.Len(); read > len(hello) {
			t.Fatalf("%d bytes were read", read)
		}
	})
}
