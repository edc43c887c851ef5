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
	endpoint, stop := cluster() // "n1:7400" or whichever node lives
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

// cluster stands for a cluster.
func cluster() (endpoint string, stop func()) {
	endpoint, stop, err := start("127.0.0.1:0", transport.ServerConfig{NodeID: "n1", Backend: new(fakenode.Node)})
	if err != nil {
		log.Fatal(err)
	}
	return endpoint, stop
}
