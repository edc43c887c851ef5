package transport

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Traces are begun by clients. A node goes on with those that its callers have sampled,
// and begins none: a call that nobody traces costs nothing. A call of its own has the
// W3C's "traceparent" in its metadata; one in an exchange, which shares the metadata with
// all others, has the same in a field of its own, see [TraceOf].

// TracerName is what spans of this module are said to come from.
const TracerName = "github.com/semanode/sema"

// TraceBytes is the length of a [Call]'s Trace: trace id, span id and flags, as a W3C
// traceparent has them.
const TraceBytes = 16 + 8 + 1

// TraceOf is the span of ctx as it travels, nil if there is none that is sampled.
func TraceOf(ctx context.Context) []byte {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() || !sc.IsValid() {
		return nil
	}
	traceID, spanID := sc.TraceID(), sc.SpanID()
	b := make([]byte, 0, TraceBytes)
	b = append(b, traceID[:]...)
	b = append(b, spanID[:]...)
	return append(b, byte(sc.TraceFlags()))
}

// withTrace is ctx with the span that has travelled, if there is one.
func withTrace(ctx context.Context, b []byte) context.Context {
	if len(b) != TraceBytes {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(b[:16]), SpanID: trace.SpanID(b[16:24]), TraceFlags: trace.TraceFlags(b[24]), Remote: true}))
}

// WithTraceparent is ctx for a call of its own, with the span that it has, if that is
// sampled.
func WithTraceparent(ctx context.Context) context.Context {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for key, value := range carrier {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	return ctx
}

// fromTraceparent is ctx of a call that came by itself with the span of its caller.
func fromTraceparent(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	for _, key := range (propagation.TraceContext{}).Fields() {
		if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
			carrier[key] = values[0]
		}
	}
	if len(carrier) == 0 {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// EndSpan ends a span with what became of it.
func EndSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, codeName(codeNumber(err)))
	}
	span.End()
}

// tracing goes on with the traces of calls that come by themselves.
type tracing struct{ trace.Tracer }

func (t tracing) options() []grpc.ServerOption {
	if t.Tracer == nil {
		return nil
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			ctx, span := t.begin(fromTraceparent(ctx), info.FullMethod)
			resp, err := handle(ctx, req)
			if span != nil {
				EndSpan(span, err)
			}
			return resp, err
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if info.FullMethod != semav1.Sema_Wait_FullMethodName {
				return handle(srv, stream)
			}
			ctx, span := t.begin(fromTraceparent(stream.Context()), info.FullMethod)
			if span == nil {
				return handle(srv, stream)
			}
			err := handle(srv, endingStream{stream, ctx})
			EndSpan(span, err)
			return err
		}),
	}
}

// begin goes on with the trace of ctx. The span is nil if there is none to go on with.
func (t tracing) begin(ctx context.Context, method string) (context.Context, trace.Span) {
	if t.Tracer == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	return t.Start(ctx, method[1:], trace.WithSpanKind(trace.SpanKindServer))
}

// hop begins the span of passing a call on.
func (t tracing) hop(ctx context.Context, to sema.Leader) (context.Context, trace.Span) {
	if t.Tracer == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	ctx, span := t.Start(ctx, "pass on", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("sema.leader", to.ID)))
	return WithTraceparent(ctx), span
}

// continueTrace begins the span of a call in an exchange, if its caller has one.
func (x *exchanged) continueTrace(t tracing) {
	if len(x.Trace) == 0 || t.Tracer == nil {
		return
	}
	_, x.Span = t.begin(withTrace(context.Background(), x.Trace), fullMethods[x.Method])
}

// endTraces ends the spans of calls that are about to be told their answers.
func endTraces(batch []*exchanged) {
	for _, x := range batch {
		if x.Span != nil {
			EndSpan(x.Span, x.Err)
		}
	}
}

// fullMethods are gRPC's names of what travels in an exchange.
var fullMethods = [MethodGet + 1]string{MethodAcquire: semav1.Sema_Acquire_FullMethodName, MethodWait: semav1.Sema_Wait_FullMethodName,
	MethodTouch: semav1.Sema_Touch_FullMethodName, MethodRelease: semav1.Sema_Release_FullMethodName, MethodGet: semav1.Sema_Get_FullMethodName}

// String is the method's name in the protocol, such as "Acquire".
func (m Method) String() string {
	if m < MethodAcquire || m > MethodGet {
		return "unknown"
	}
	return fullMethods[m][len("/"+"sema.v1.Sema"+"/"):]
}
