package transport_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

func TestAMessageOverAMegabyteIsRefused(t *testing.T) {
	node := serve(t, "n1", nil)
	_, err := node.client.Get(within(t, 20*time.Second), &semav1.GetRequest{Name: strings.Repeat("x", transport.MaxMessageBytes)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
	if n := len(node.Requests()); n != 0 {
		t.Error("the backend was asked")
	}
	_, err = node.client.Get(within(t, 20*time.Second), &semav1.GetRequest{Name: strings.Repeat("x", transport.MaxMessageBytes-100)})
	if !errors.Is(transport.ErrorFromStatus(err), sema.ErrInvalid) || len(err.Error()) > 1000 {
		t.Errorf("just below: got %.2000v, want a short ErrInvalid", err)
	}
}

func TestInvalidRequestsDoNotReachTheBackend(t *testing.T) {
	node := serve(t, "n1", nil)
	ctx := within(t, 20*time.Second)
	fields := func(err error) (all []string) {
		for _, detail := range status.Convert(err).Details() {
			for _, v := range detail.(*semav1.ErrorDetail).GetViolations() {
				all = append(all, v.GetField())
			}
		}
		return all
	}
	some := make16(1)
	for _, tc := range []struct {
		what string
		call func() error
		want []string
	}{
		{"empty acquire", func() error { _, err := node.client.Acquire(ctx, &semav1.AcquireRequest{}); return err }, []string{"name", "owner", "timeout"}},
		{"short client id", func() error {
			m := acquireA()
			m.Attempt.Client = some[:15]
			_, err := node.client.Acquire(ctx, m)
			return err
		}, []string{"attempt.client"}},
		{"no client id", func() error {
			m := acquireA()
			m.Attempt.Client = nil
			_, err := node.client.Acquire(ctx, m)
			return err
		}, []string{"attempt.client"}},
		{"lowest open above seq", func() error {
			m := acquireA()
			m.Attempt.LowestOpen = m.Attempt.Seq + 1
			_, err := node.client.Acquire(ctx, m)
			return err
		}, []string{"attempt.lowest_open"}},
		{"too far ahead", func() error {
			m := acquireA()
			m.Attempt.Seq, m.Attempt.LowestOpen = 1025, 1
			_, err := node.client.Acquire(ctx, m)
			return err
		}, []string{"attempt.lowest_open"}},
		{"touch", func() error {
			_, err := node.client.Touch(ctx, &semav1.TouchRequest{Attempt: &semav1.Attempt{Client: some}})
			return err
		}, []string{"name"}},
		{"touch with a short client id", func() error {
			_, err := node.client.Touch(ctx, &semav1.TouchRequest{Name: "a", Attempt: &semav1.Attempt{Client: some[:1]}})
			return err
		}, []string{"attempt.client"}},
		{"release", func() error {
			_, err := node.client.Release(ctx, &semav1.ReleaseRequest{Name: "\n", Attempt: &semav1.Attempt{Seq: 1}})
			return err
		}, []string{"name", "attempt.client"}},
		{"forced release", func() error { _, err := node.client.ForceRelease(ctx, &semav1.ForceReleaseRequest{}); return err }, []string{"name", "token"}},
		{"get", func() error { _, err := node.client.Get(ctx, &semav1.GetRequest{}); return err }, []string{"name"}},
		{"list", func() error {
			_, err := node.client.List(ctx, &semav1.ListRequest{Prefix: "\t", PageToken: "\n", PageSize: 1001})
			return err
		}, []string{"prefix", "page_token", "page_size"}},
		{"enormous page", func() error { _, err := node.client.List(ctx, &semav1.ListRequest{PageSize: 1<<32 - 1}); return err }, []string{"page_size"}},
	} {
		err := tc.call()
		if status.Code(err) != codes.InvalidArgument || !slices.Equal(fields(err), tc.want) {
			t.Errorf("%s: got %v with %q, want %q", tc.what, err, fields(err), tc.want)
		}
	}
	if n := len(node.Requests()); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

func TestHealth(t *testing.T) {
	node := serve(t, "n1", nil)
	health := healthv1.NewHealthClient(node.conn)
	const ready, notReady = healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING
	expect := func(service string, want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		resp, err := health.Check(within(t, 20*time.Second), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != want {
			t.Errorf("%q is %v, %v, want %v", service, resp.GetStatus(), err, want)
		}
	}
	expect("", ready) // it answers
	expect("sema.v1.Sema", notReady)
	node.server.SetServing(true)
	expect("sema.v1.Sema", ready)
	node.server.SetServing(false)
	expect("sema.v1.Sema", notReady)
	expect("", ready)
}

func TestReflection(t *testing.T) {
	node := serve(t, "n1", nil)
	stream, err := reflectionv1.NewServerReflectionClient(node.conn).ServerReflectionInfo(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range resp.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{"sema.v1.Sema", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("reflection tells of %q, and not of %s", names, want)
		}
	}
}

func TestStopLetsCallsFinish(t *testing.T) {
	node := serve(t, "n1", nil)
	asked, proceed := make(chan struct{}), make(chan struct{})
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		close(asked)
		<-proceed
		return apply()
	})
	acquired, stopped := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := node.client.Acquire(within(t, 20*time.Second), acquireA())
		acquired <- err
	}()
	<-asked
	go func() {
		defer close(stopped)
		node.server.Stop(t.Context())
	}()
	close(proceed)
	if err := <-acquired; err != nil {
		t.Errorf("a call that was under way: %v", err)
	}
	<-stopped
	node.server.Stop(t.Context()) // idempotent
	if _, err := node.client.Acquire(within(t, 20*time.Second), acquireA()); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after that: %v", err)
	}
}

func TestStopEndsCallsThatTakeTooLong(t *testing.T) {
	node := serve(t, "n1", nil)
	asked, handlerGone := make(chan struct{}), make(chan struct{})
	node.Intercept(func(ctx context.Context, _ any, _ func() error) error {
		defer close(handlerGone)
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	})
	acquired := make(chan error, 1)
	go func() {
		_, err := node.client.Acquire(within(t, 20*time.Second), acquireA())
		acquired <- err
	}()
	<-asked
	node.server.Stop(within(t, 50*time.Millisecond))
	select {
	case <-handlerGone:
	default:
		t.Error("Stop did not wait for the handler")
	}
	if err := <-acquired; err == nil {
		t.Error("the call has an answer")
	}
}
