package transport

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

func limitToWire(e *sema.LimitError) *semav1.Limit {
	m := &semav1.Limit{Of: e.Of, Most: e.Most}
	if e.RetryAfter > 0 {
		m.RetryAfter = durationpb.New(e.RetryAfter)
	}
	return m
}

func limitFromWire(m *semav1.Limit) *sema.LimitError {
	return &sema.LimitError{Of: m.GetOf(), Most: m.GetMost(), RetryAfter: max(0, m.GetRetryAfter().AsDuration())}
}
