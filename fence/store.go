package fence

import (
	"context"
	"fmt"
	"sync"
)

// Store keeps the highest token of each resource, for a [Gate]. [Memory] keeps it
// until the process ends, [Postgres] for good.
type Store interface {
	// Advance makes token the highest of the resource, in one step, unless a
	// higher one is kept: then it returns an error that matches [ErrStale] and
	// changes nothing. An equal one is no error. When it returns nil, no lower
	// token may ever be accepted again: a durable store has it on disk by then.
	// Any other error means that it is not known whether token is kept, which
	// does no harm: the call may be made again.
	//
	// The resource is 1 to 512 bytes of UTF-8 without control characters, the
	// token at least 1. Advance is called for every request, from many
	// goroutines, and ends when ctx does.
	Advance(ctx context.Context, resource string, token uint64) error
}

// DefaultMaxResources bounds a [Memory] that was not told otherwise.
const DefaultMaxResources = 65536

// Memory is a [Store] that forgets everything when the process ends: after a
// restart the first token that comes is accepted, even if it is stale. It is for
// resources that end with the process too, and for tests.
//
// It grows with the number of different resources and never shrinks, because what
// it forgot it could not refuse: at most Max entries of up to 512 bytes of name,
// which is less than 64 MiB with the default. The zero value is ready to use, by
// many goroutines; it must not be copied.
type Memory struct {
	// Max is the number of resources; DefaultMaxResources if zero. When it is
	// reached, resources that are known go on, and new ones fail.
	Max int

	mu      sync.Mutex
	highest map[string]uint64
}

// Advance implements [Store]. It does not block.
func (m *Memory) Advance(_ context.Context, resource string, token uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	highest, known := m.highest[resource]
	if token < highest {
		return stale(resource, token, highest)
	}
	if !known && len(m.highest) >= m.max() {
		return fmt.Errorf("fence: %d resources are in memory and no more may be: raise Memory.Max or use a durable Store", m.max())
	}
	if m.highest == nil {
		m.highest = make(map[string]uint64)
	}
	m.highest[resource] = token
	return nil
}

func (m *Memory) max() int {
	if m.Max == 0 {
		return DefaultMaxResources
	}
	return m.Max
}
