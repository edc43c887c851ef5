package transport_test

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// Errors keep their meaning over the wire, for clients in Go and, by gRPC's codes,
// for all others.
func ExampleErrorToStatus() {
	sent := transport.ErrorToStatus(&sema.NotLeaderError{Leader: sema.Leader{ID: "n2", GRPCAddr: "10.0.0.2:7362"}})
	fmt.Println(status.Code(sent))

	received := transport.ErrorFromStatus(sent)
	var notLeader *sema.NotLeaderError
	fmt.Println(errors.Is(received, sema.ErrNotLeader), errors.As(received, &notLeader))
	fmt.Println(notLeader.Leader.GRPCAddr)
	// Output:
	// Unavailable
	// true true
	// 10.0.0.2:7362
}
