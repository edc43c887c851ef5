package transport

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec is gRPC's protobuf codec, beside which it passes on what this package writes
// and reads by hand.
type codec struct{ encoding.CodecV2 }

var protobuf = codec{encoding.GetCodecV2(proto.Name)}

// Encoded is a message of an exchange that was encoded already, as interceptors see it.
// It may be used again when it was sent.
type Encoded []byte

// Undecoded takes a message of an exchange as it came. It shares no memory with gRPC.
type Undecoded []byte

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(Encoded); ok {
		return mem.BufferSlice{mem.Copy(m, mem.DefaultBufferPool())}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements [encoding.CodecV2].
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*Undecoded); ok {
		if n := data.Len(); n > MaxMessageBytes {
			return fmt.Errorf("a message of %d bytes, at most %d", n, MaxMessageBytes)
		} else if cap(*m) < n {
			*m = make(Undecoded, n)
		} else {
			*m = (*m)[:n]
		}
		data.CopyTo(*m)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
