package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

func Example() {
	endpoint, stop := someCluster() // "n1:7400" or whichever node lives
	defer stop()

	c, err := client.New(client.Config{Endpoints: []string{endpoint}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	info, err := c.Acquire(ctx, "reports/daily", "host-3", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	if info.Status != sema.Acquired {
		log.Fatalf("held by %s until %s", info.Owner, info.ExpiresAt)
	}
	fmt.Println(info.Status, "under token", info.Token)
	if err := c.Release(ctx, "reports/daily"); err != nil {
		log.Fatal(err)
	}
	// Output: ACQUIRED under token 1
}

// someCluster stands for a cluster.
func someCluster() (endpoint string, stop func()) {
	endpoint, stop, err := start("127.0.0.1:0", transport.ServerConfig{NodeID: "n1", Backend: new(fakenode.Node)})
	if err != nil {
		log.Fatal(err)
	}
	return endpoint, stop
}

// A lock is kept alive until it is unlocked. What runs under it uses its context,
// and shows its token to whatever it writes to.
func ExampleClient_Lock() {
	endpoint, stop := someCluster()
	defer stop()
	c, err := client.New(client.Config{Endpoints: []string{endpoint}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	lock, err := c.Lock(ctx, "reports/daily", client.LockOptions{
		Owner:   "host-3",
		Timeout: 30 * time.Second,
		Wait:    time.Minute, // in line, behind those who came before
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := report(lock.Context(), lock.Token()); err != nil {
		log.Print(err)
	}
	if err := lock.Unlock(ctx); err != nil {
		log.Print(err) // it was lost before, or stands until its timeout
	}
	// Output: written under token 1
}

func report(ctx context.Context, token uint64) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	fmt.Println("written under token", token)
	return nil
}
