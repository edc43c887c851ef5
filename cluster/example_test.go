package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
)

// A node in this process. Alone it makes a cluster of one; with the same list of
// peers on three machines it makes one of three.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "sema")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	node, err := cluster.Open(ctx, cluster.Config{
		ID:       "n1",
		DataDir:  filepath.Join(dir, "n1"),
		RaftAddr: "127.0.0.1:0",
		Peers:    []cluster.Peer{{ID: "n1", Addr: "127.0.0.1:7373"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close() // hands leadership over first, where there is somebody
	if err := node.WaitLeader(ctx); err != nil {
		log.Fatal(err)
	}

	mine, err := node.Acquire(ctx, "nightly-report", "host-7", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := node.Acquire(ctx, "nightly-report", "host-8", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mine.Status, mine.Token)
	fmt.Println(theirs.Status, theirs.Owner)
	// Output:
	// ACQUIRED 1
	// OWNED_BY_SOMEONE_ELSE host-7
}

// The client of a node in this process: locks, waiting in line and keeping alive,
// without a network. It is the same on a node that does not lead.
func ExampleNode_Client() {
	dir, err := os.MkdirTemp("", "sema")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	node, err := cluster.Open(ctx, cluster.Config{
		ID:       "n1",
		DataDir:  filepath.Join(dir, "n1"),
		RaftAddr: "127.0.0.1:0",
		Peers:    []cluster.Peer{{ID: "n1", Addr: "127.0.0.1:7373"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	c := node.Client()
	defer c.Close()

	lock, err := c.Lock(ctx, "nightly-report", client.LockOptions{Owner: "host-7"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.TryLock(ctx, "nightly-report", client.LockOptions{Owner: "host-8"})
	fmt.Println("token", lock.Token(), "and the other:", errors.Is(err, sema.ErrHeld))
	fmt.Println(lock.Unlock(ctx))
	// Output:
	// token 1 and the other: true
	// <nil>
}
