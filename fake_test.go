package sema_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
)

// script is a Service that does what a test says and writes down what it was
// asked, and when: "10s touch". Calls that the script does not mention succeed.
type script struct {
	acquire func(nth int) (sema.Info, error)         // Acquired if nil
	touch   func(ctx context.Context, nth int) error // nth counts from 1
	release func(ctx context.Context, nth int) error //
	start   time.Time

	mu    sync.Mutex
	token uint64 // of the last acquire; a test may give it another
	count map[string]int
	lines []string
}

func newScript() *script { return &script{start: time.Now(), count: map[string]int{}} }

// note writes down one event with the time since the start.
func (s *script) note(what string) (nth int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%v %s", time.Since(s.start), what))
	s.count[what]++
	return s.count[what]
}

// expect compares everything noted so far with one event per line.
func (s *script) expect(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("it went\n\n%s\n\nand should have gone\n\n%s\n", got, strings.Join(want, "\n"))
	}
}

func (s *script) Acquire(_ context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	nth := s.note("acquire")
	info := sema.Info{Status: sema.Acquired}
	var err error
	if s.acquire != nil {
		info, err = s.acquire(nth)
	}
	info.Name, info.Timeout, info.Token = name, timeout, uint64(nth)
	s.mu.Lock()
	s.token = info.Token
	s.mu.Unlock()
	if info.Owner == "" {
		info.Owner = owner
	}
	return info, err
}

func (s *script) Touch(ctx context.Context, name string) (sema.Info, error) {
	nth := s.note("touch")
	s.mu.Lock()
	info := sema.Info{Status: sema.Acquired, Name: name, Token: s.token}
	s.mu.Unlock()
	if s.touch == nil {
		return info, nil
	}
	return info, s.touch(ctx, nth)
}

func (s *script) Release(ctx context.Context, name string) error {
	nth := s.note("release")
	if s.release == nil {
		return nil
	}
	return s.release(ctx, nth)
}

func (s *script) Get(context.Context, string) (sema.Info, error) {
	return sema.Info{}, sema.ErrNotFound
}
