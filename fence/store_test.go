package fence_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/semanode/sema/fence"
	"github.com/semanode/sema/fence/internal/storetest"
)

func TestMemory(t *testing.T) { storetest.Run(t, new(fence.Memory)) }

func TestMemoryIsBounded(t *testing.T) {
	for _, c := range []struct {
		max  int
		want int
	}{{3, 3}, {0, fence.DefaultMaxResources}} {
		m := fence.Memory{Max: c.max}
		for i := range c.want {
			if err := m.Advance(t.Context(), fmt.Sprint("resource ", i), 5); err != nil {
				t.Fatalf("resource %d of %d: %v", i+1, c.want, err)
			}
		}
		if err := m.Advance(t.Context(), "one too many", 5); err == nil || errors.Is(err, fence.ErrStale) {
			t.Errorf("one resource above %d: %v, want an error that is not ErrStale", c.want, err)
		}
		if err := m.Advance(t.Context(), "resource 0", 6); err != nil {
			t.Errorf("a known resource in a full memory: %v", err)
		}
		if err := m.Advance(t.Context(), "resource 0", 5); !errors.Is(err, fence.ErrStale) {
			t.Errorf("a stale token in a full memory: %v, want ErrStale", err)
		}
		if got := m.Resources(); got != c.want {
			t.Errorf("%d resources are kept, want %d", got, c.want)
		}
	}
}

func TestFullMemoryIsNotTheClientsFault(t *testing.T) {
	gate := fence.Gate{Resource: byPath, Store: &fence.Memory{Max: 1}}
	h := gate.Wrap(echo)
	wantCode(t, "the first resource", send(h, "/a", "5"), 200)
	wantCode(t, "one too many", send(h, "/b", "6"), 503)
	wantCode(t, "the first resource", send(h, "/a", "5"), 200)
}

// A process that starts again is a new Gate.
func TestRestart(t *testing.T) {
	t.Run("with a store that lasts, nothing is forgotten", func(t *testing.T) {
		disk := new(fence.Memory) // stands for a durable one
		before, after := fence.Gate{Store: disk}, fence.Gate{Store: disk}
		wantCode(t, "token 5", send(before.Wrap(echo), "/", "5"), 200)
		wantCode(t, "token 4 after the restart", send(after.Wrap(echo), "/", "4"), 412)
	})
	t.Run("without one, the highest token is", func(t *testing.T) {
		var before, after fence.Gate
		wantCode(t, "token 5", send(before.Wrap(echo), "/", "5"), 200)
		wantCode(t, "token 4 after the restart", send(after.Wrap(echo), "/", "4"), 200)
	})
}
