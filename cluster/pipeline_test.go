package cluster

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// plainStream has one member at each address.
type plainStream struct{ net.Listener }

// Dial implements [raft.StreamLayer].
func (plainStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	_, hostPort := split(addr)
	return net.DialTimeout("tcp", hostPort, timeout)
}

// TestPipelineBeginsWhenAFollowerHasNearlyAll: in a pipeline what is missing goes at the
// pace of new entries.
func TestPipelineBeginsWhenAFollowerHasNearlyAll(t *testing.T) {
	t.Parallel()
	listen := func() *raft.NetworkTransport {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return raft.NewNetworkTransport(plainStream{lis}, 1, 10*time.Second, io.Discard)
	}
	follower := listen()
	done := make(chan struct{})
	go func() { // until there is nothing to consume
		defer close(done)
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	leader := newRaftTransport(listen(), time.Minute, nil)
	t.Cleanup(func() {
		leader.closePipelines()
		if err := errors.Join(leader.Close(), follower.Close()); err != nil {
			t.Error(err)
		}
		<-done
	})
	leader.log = newParallelLog(raft.NewInmemStore())
	t.Cleanup(leader.log.close)
	if err := leader.log.StoreLogs(entriesFrom(1, 1000)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, n uint64
		want    error
	}{
		{1, 64, raft.ErrPipelineReplicationNotSupported},
		{65, 0, raft.ErrPipelineReplicationNotSupported}, // as when it is asked whether it lives
		{900, 36, raft.ErrPipelineReplicationNotSupported},
		{900, 37, nil},
		{1, 64, raft.ErrPipelineReplicationNotSupported}, // it has lost what it had
		{1000, 1, nil},
	} {
		args := &raft.AppendEntriesRequest{PrevLogEntry: c.from - 1, Entries: entriesFrom(c.from, c.n)}
		if err := leader.AppendEntries("n2", follower.LocalAddr(), args, new(raft.AppendEntriesResponse)); err != nil {
			t.Fatal(err)
		}
		p, err := leader.AppendEntriesPipeline("n2", follower.LocalAddr())
		if !errors.Is(err, c.want) {
			t.Fatalf("a follower that has %d entries of 1000: %v, want %v", c.from+c.n-1, err, c.want)
		}
		if err == nil {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
