package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/semanode/sema/transport"
)

// maxLinks bounds the calls that the span of an entry is linked to.
const maxLinks = 32

// tracer traces what becomes of commands whose callers trace them: the wait in the
// proposer's queue, the entry, its Apply, the wait in line. Its zero value traces nothing.
type tracer struct {
	trace.Tracer // nil: none

	entries atomic.Int64 // that are traced and under way

	mu      sync.Mutex
	applied map[uint64]applied // while some are, by index
}

// applied is when an entry was applied.
type applied struct{ from, to time.Time }

func (t *tracer) init(p trace.TracerProvider) {
	if p != nil {
		t.Tracer = p.Tracer(transport.TracerName)
		t.applied = map[uint64]applied{}
	}
}

// spanOf is the span of ctx, nil if nobody traces it here.
func (t *tracer) spanOf(ctx context.Context) trace.Span {
	if t.Tracer == nil {
		return nil
	}
	if span := trace.SpanFromContext(ctx); span.SpanContext().IsSampled() {
		return span
	}
	return nil
}

// under is a span below another.
func (t *tracer) under(parent trace.Span, name string, more ...trace.SpanStartOption) trace.Span {
	_, span := t.Start(trace.ContextWithSpan(context.Background(), parent), name, more...)
	return span
}

// queue begins a proposal's wait in the queue.
func (t *tracer) queue(p *proposal, call trace.Span) {
	if call != nil && t.Tracer != nil {
		p.span = call
		p.inQueue = t.under(call, "wait in the queue")
	}
}

// trace notes the span of a call.
func (o *office) trace(p *proposal, ctx context.Context) {
	if t := &o.node.tracer; t.Tracer != nil {
		t.queue(p, t.spanOf(ctx))
	}
}

// propose begins the span of an entry, below the first call that is traced and linked to
// the others, and ends their wait in the queue.
func (t *tracer) propose(e *entry) {
	if t.Tracer == nil {
		return
	}
	var first trace.Span
	var links []trace.Link
	for _, p := range e.batch {
		if p.span == nil {
			continue
		}
		p.inQueue.End()
		if first == nil {
			first = p.span
		} else if len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: p.span.SpanContext()})
		}
	}
	if first != nil {
		t.entries.Add(1)
		e.span = t.under(first, "entry", trace.WithLinks(links...), trace.WithAttributes(attribute.Int("sema.commands", e.size)))
	}
}

// landed ends the span of an entry, with that of its Apply in it.
func (t *tracer) landed(e *entry, err error) {
	if e.span == nil {
		return
	}
	if err == nil {
		index := e.future.Index()
		if a, ok := t.take(index); ok {
			span := t.under(e.span, "apply", trace.WithTimestamp(a.from), trace.WithAttributes(attribute.Int64("sema.index", int64(index))))
			span.End(trace.WithTimestamp(a.to))
		}
	}
	transport.EndSpan(e.span, err)
	t.entries.Add(-1)
}

// take is when an entry was applied. What was before it is forgotten: entries land in
// their order.
func (t *tracer) take(index uint64) (a applied, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok = t.applied[index]
	for i := range t.applied {
		if i <= index {
			delete(t.applied, i)
		}
	}
	return a, ok
}

// Apply implements [raft.FSM].
func (m guardedMachine) Apply(e *raft.Log) any {
	t := &m.node.tracer
	if t.entries.Load() == 0 {
		return m.Machine.Apply(e)
	}
	a := applied{from: time.Now()}
	result := m.Machine.Apply(e)
	a.to = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.applied) < 2*maxEntries { // else nobody asks for them
		t.applied[e.Index] = a
	}
	return result
}

// gaveUp ends what a proposal that is in no entry has begun.
func (p *proposal) gaveUp() {
	if p.inQueue != nil {
		p.inQueue.End() // again, if it was in one: that is ignored
	}
}
