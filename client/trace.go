package client

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema/transport"
)

// begin begins the span of a call, over all its tries. The span is nil if nobody traces,
// or not this call.
func (c *caller) begin(ctx context.Context, method string) (context.Context, trace.Span) {
	if c.tracer == nil {
		return ctx, nil
	}
	ctx, span := c.tracer.Start(ctx, "sema/"+method, trace.WithSpanKind(trace.SpanKindClient))
	if !span.SpanContext().IsSampled() {
		return ctx, nil
	}
	return ctx, span
}

func endSpan(span trace.Span, err error) {
	if span != nil {
		transport.EndSpan(span, err)
	}
}

// methodOf is the method that a request is for.
func methodOf(request any) string {
	m, ok := request.(proto.Message)
	if !ok {
		return "unknown"
	}
	return strings.TrimSuffix(string(m.ProtoReflect().Descriptor().Name()), "Request")
}

// tellTry notes on the span a try that failed.
func tellTry(ctx context.Context, n *node, err error) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("try failed", trace.WithAttributes(attribute.String("endpoint", n.addr), attribute.String("error", err.Error())))
	}
}
