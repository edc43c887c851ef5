//go:build unix

// Package peer runs Sema and the systems that it is compared with: it starts their
// processes, each with its data in a directory of its own on a real disk, and gives
// out [load.Locker] values that speak to them over loopback TCP.
package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema/internal/load"
)

// ErrAbsent: the peer is not installed. It is left out.
var ErrAbsent = errors.New("not installed")

// The limits of what happens before and after a measurement.
const (
	startWithin = 60 * time.Second
	stopWithin  = 15 * time.Second
)

// holdFor is the timeout of holds of peers that nobody keeps alive: longer than any run.
const holdFor = time.Hour

// Peer is a system that can be measured.
type Peer interface {
	// Name is what flags call it.
	Name() string
	// Find makes ready to start it and says what it is. The error matches
	// [ErrAbsent] if it is not installed.
	Find(ctx context.Context) (About, error)
	// Start starts it with nothing in it, and returns when it serves. On failure
	// nothing is left running. dir is empty and its own.
	Start(ctx context.Context, dir string) (Running, error)
}

// About says what was measured, for people to read.
type About struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
}

// Running is a peer that has been started.
type Running interface {
	// Ways are those in which it can do a mode of load. There may be none.
	Ways(mode load.Mode) []Way
	// Stop ends its processes.
	Stop() error
}

// Way is one way to put a load on a peer. Those with the same column do the same
// work and differ in how the client is set up; the best of them counts.
type Way struct {
	Column string // of a table
	Note   string // how the client is set up
	Open   func(ctx context.Context, workers int) (*Access, error)
}

// Access is what workers reach a peer through.
type Access struct {
	Dial  func(worker int) (load.Locker, error) // for [load.Run]
	Close func() error
}

// Indexer is a peer with a replicated log.
type Indexer interface {
	// LogIndex is the last entry's index as the leader knows it.
	LogIndex(ctx context.Context) (uint64, error)
}

// Config says how to run the peers.
type Config struct {
	Scratch   string   // directory for what is built
	Semanode  string   // binary to measure; built from the repository if empty
	SemaFlags []string // added to those of semanode serve
	Waiters   int      // most workers that wait at once
}

// All returns the peers, Sema first.
func All(cfg Config) []Peer {
	return []Peer{newSema(cfg), &etcd{}, &redisPeer{}, &postgres{waiters: cfg.Waiters}}
}

// bare is a Locker that can do nothing. Others embed it and add what they can.
type bare struct{}

var _ load.Locker = bare{}

func (bare) TryAcquire(context.Context, string) (bool, error) {
	return false, unsupported("TryAcquire")
}
func (bare) Touch(context.Context, string) error   { return unsupported("Touch") }
func (bare) Release(context.Context, string) error { return unsupported("Release") }
func (bare) Lock(context.Context, string) error    { return unsupported("Lock") }
func (bare) Get(context.Context, string) error     { return unsupported("Get") }
func (bare) Close() error                          { return nil }

func unsupported(what string) error { return fmt.Errorf("%s: %w", what, errors.ErrUnsupported) }

// pause waits between two tries.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until asks again and again until the answer is no error.
func until(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if ctxErr := pause(ctx, 10*time.Millisecond); ctxErr != nil {
			return fmt.Errorf("%s: %w: %w", what, ctxErr, err)
		}
	}
}
