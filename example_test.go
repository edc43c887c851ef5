package sema_test

import (
	"context"
	"fmt"
	"time"

	"github.com/semanode/sema"
)

func ExampleIsolate() {
	var svc sema.Service = newScript() // a *client.Client or a *cluster.Node

	total, err := sema.Isolate(context.Background(), svc, "invoices/2031", "billing@host-3",
		func(ctx context.Context, hold sema.Info) (int, error) {
			// ctx ends if the hold is lost. The token goes into every write, so
			// that a late one can be refused.
			return write(ctx, "invoice 4711", hold.Token)
		},
		sema.IsolateOptions{Timeout: 10 * time.Second, Notify: func(line string) { fmt.Println(line) }})

	fmt.Println(total, err)
	// Output: 1 <nil>
}

func write(_ context.Context, _ string, token uint64) (int, error) { return int(token), nil }
