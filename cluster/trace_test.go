package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
)

// path is the names of the spans from a span up to its root.
func path(spans []sdktrace.ReadOnlySpan, of sdktrace.ReadOnlySpan) string {
	for _, parent := range spans {
		if parent.SpanContext().SpanID() == of.Parent().SpanID() && parent.SpanContext().TraceID() == of.SpanContext().TraceID() {
			return path(spans, parent) + " > " + of.Name()
		}
	}
	return of.Name()
}

// A call that its client traces is one trace, from the client through the node that
// passes it on to the entry and its Apply; in an exchange and by itself.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, unary := range []bool{false, true} {
		t.Run(fmt.Sprintf("unary %v", unary), func(t *testing.T) {
			t.Parallel()
			recorder := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
			h := startHarness(t, 3, func(cfg *cluster.Config) { cfg.TracerProvider = provider })
			c, err := client.New(client.Config{Endpoints: []string{h.follower().GRPCAddr()}, Unary: unary, TracerProvider: provider})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			const call, hop = "sema/Acquire > sema.v1.Sema/Acquire", " > pass on > sema.v1.Sema/Acquire"
			acquire(t, c, "a", "owner", time.Minute)
			wantPaths(t, recorder, call, call+hop, call+hop+" > wait in the queue", call+hop+" > entry", call+hop+" > entry > apply")

			other := c.Fork()
			done := make(chan error, 1)
			go func() {
				_, err := other.(sema.Waiter).AcquireWait(testContext(t), "a", "other", time.Minute, nil)
				done <- err
			}()
			eventually(t, "one waits", func() error {
				if info, err := c.Get(testContext(t), "a"); err != nil || info.Waiting != 1 {
					return fmt.Errorf("%v wait, %v", info.Waiting, err)
				}
				return nil
			})
			if err := c.Release(testContext(t), "a"); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantPaths(t, recorder, " > sema.v1.Sema/Wait > wait in line", " > sema.v1.Sema/Release > entry")
			if _, err := c.Get(testContext(t), "nothing"); !errors.Is(err, sema.ErrNotFound) {
				t.Fatal(err)
			}
			eventually(t, "an error has its code", func() error {
				for _, s := range recorder.Ended() {
					if s.Name() == "sema.v1.Sema/Get" && s.Status().Description == "NOT_FOUND" {
						return nil
					}
				}
				return errors.New("none has")
			})
		})
	}
}

// wantPaths waits until there are spans with these ancestors; a path that begins with
// " > " may have more before it.
func wantPaths(t *testing.T, recorder *tracetest.SpanRecorder, want ...string) {
	t.Helper()
	for _, w := range want {
		eventually(t, "a span "+w, func() error {
			spans := recorder.Ended()
			var all []string
			for _, s := range spans {
				p := path(spans, s)
				if p == w || strings.HasPrefix(w, " > ") && strings.HasSuffix(p, w) {
					return nil
				}
				all = append(all, p)
			}
			return fmt.Errorf("there are %q", all)
		})
	}
}

// A node traces nothing of its own accord.
func TestUntraced(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	nodes := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	h := startHarness(t, 1, func(cfg *cluster.Config) { cfg.TracerProvider = nodes })
	for _, unary := range []bool{false, true} {
		c, err := client.New(client.Config{Endpoints: []string{h.leader().GRPCAddr()}, Unary: unary,
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		acquire(t, c, fmt.Sprint("a", unary), "owner", time.Minute)
	}
	if spans := recorder.Started(); len(spans) > 0 {
		t.Errorf("%d spans, such as %s", len(spans), spans[0].Name())
	}
}
