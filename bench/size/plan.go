//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/bench/internal/stat"
)

// bench is one run of everything that was asked for.
type bench struct {
	options
	dir  string // temporary; gone in the end
	log  io.Writer
	sema peer.Peer
	document
}

// measure does it all. What fails is in the document; the error says that it is not
// worth going on.
func measure(ctx context.Context, o options, log io.Writer) (_ document, err error) {
	dir, err := os.MkdirTemp(o.dir, "sema-size")
	if err != nil {
		return document{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir, log: log}
	b.sema = peer.All(peer.Config{Scratch: dir, Semanode: o.semanode})[0]
	about, err := b.sema.Find(ctx)
	if err != nil {
		return document{}, err
	}
	before, err := host.MeasureSync(dir)
	if err != nil {
		return document{}, err
	}
	b.document = document{Day: time.Now().UTC().Format(time.DateOnly), Version: about.Version, Machine: host.Look(dir), Before: before, Holds: o.holds}
	b.say("Sema %s", about.Version)
	for _, step := range []struct {
		parts []string // in one cluster or some
		take  func(context.Context) error
	}{
		{[]string{"state"}, b.state},
		{[]string{"latency", "snapshot", "away", "failover"}, b.standing},
		{[]string{"handles"}, b.handlesKept},
		{[]string{"touch"}, b.touched},
	} {
		wanted := false
		for _, part := range step.parts {
			wanted = wanted || o.wants(part)
		}
		if !wanted {
			continue
		}
		err := step.take(ctx)
		if ctx.Err() != nil {
			return document{}, errors.New("interrupted")
		}
		if err != nil {
			b.fail(fmt.Errorf("%v: %w", step.parts, err))
		}
	}
	b.After, err = host.MeasureSync(dir)
	return b.document, err
}

// standing measures what holds cost that nobody touches: three clusters at once, with one
// hold, a thousand and many, so that what else the machine does meets them alike.
func (b *bench) standing(ctx context.Context) (err error) {
	var fleets []*fleet
	defer func() {
		for _, f := range fleets {
			err = errors.Join(err, f.stop())
		}
	}()
	for _, holds := range []int{1, 1000, b.holds} {
		f, err := b.start(ctx, holds)
		if err != nil {
			return err
		}
		fleets = append(fleets, f)
		if err := b.fill(ctx, f); err != nil {
			return err
		}
	}
	few, many := fleets[0], fleets[2]
	host.Settle()
	for _, part := range []struct {
		name string
		take func() error
	}{
		{"latency", func() error { return b.latency(ctx, fleets) }},
		{"snapshot", func() error { return b.snapshot(ctx, many) }},
		{"away", func() error { return b.away(ctx, many) }},
		{"failover", func() error { return b.leadersKilled(ctx, few, many) }},
	} {
		if !b.wants(part.name) {
			continue
		}
		if err := part.take(); err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.fail(fmt.Errorf("%s: %w", part.name, err))
		}
	}
	return nil
}

// say tells how it goes.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// fail notes what could not be measured, and goes on: the rest is worth having.
func (b *bench) fail(err error) {
	b.say("failed: %v", err)
	b.Failures = append(b.Failures, err.Error())
}

func count(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return stat.Figure(float64(n))
}

func ms(d time.Duration) string { return stat.Figure(d.Seconds()*1000) + " ms" }

func seconds(d time.Duration) string { return stat.Figure(d.Seconds()) + " s" }

func megabytes(n int64) string { return stat.Figure(float64(n)/1e6) + " MB" }
