package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// A clock goes on from where it stands when its rate changes.
func TestClockRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(new(gate.Gate))
		shows := time.Duration(0)
		for _, step := range []struct {
			rate float64
			lasts,
			gains time.Duration
		}{
			{1, time.Hour, time.Hour},
			{1.004, 1000 * time.Second, 1004 * time.Second},
			{0.8, 100 * time.Second, 80 * time.Second},
			{0.8, 0, 0},
			{1, time.Minute, time.Minute},
		} {
			c.setRate(step.rate)
			<-time.After(step.lasts)
			shows += step.gains
			if got := c.Monotonic(); math.Abs(float64(got-shows)) > 10 {
				t.Errorf("after %v at rate %v it shows %v, want %v", step.lasts, step.rate, got, shows)
			}
		}
		if n := c.read.Load(); n != 3 {
			t.Errorf("read %d times at a wrong rate, want 3", n)
		}
	})
}

// The wall clock jumps by itself; what is monotonic does not.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(new(gate.Gate))
		for _, step := range []struct{ jump, ahead time.Duration }{
			{0, 0}, {time.Hour, time.Hour}, {-3 * time.Hour, -2 * time.Hour}, {2 * time.Hour, 0},
		} {
			c.jump(step.jump)
			if got := time.Until(c.Wall()); got != step.ahead {
				t.Errorf("after a jump by %v it is %v ahead, want %v", step.jump, got, step.ahead)
			}
			if got := c.Monotonic(); got != 0 {
				t.Errorf("no time has passed, and it shows %v", got)
			}
		}
		if n := c.walls.Load(); n != 2 {
			t.Errorf("the wall clock was read %d times while it was wrong, want 2", n)
		}
	})
}

// Whoever asks a paused machine for the time waits, and is told what it is then.
func TestThePausedDoNotReadTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate.Gate
		c := newClock(&g)
		g.Shut()
		time.AfterFunc(time.Hour, g.Open)
		if got := c.Monotonic(); got != time.Hour {
			t.Errorf("it shows %v, want an hour", got)
		}
		g.Shut()
		time.AfterFunc(time.Hour, g.Open)
		began := time.Now()
		if got := c.Wall().Sub(began); got != time.Hour {
			t.Errorf("it is %v later, want an hour", got)
		}
	})
}

func TestTheLogbookKeepsTheNewest(t *testing.T) {
	line := strings.Repeat("x", 1<<10-8)
	for _, c := range []struct {
		name  string
		lines int
		want  string // the beginning
		size  int
	}{
		{"nothing", 0, "", 0},
		{"all of it", 3, "line 0 ", 3 << 10},
		{"as much as there is room for", 1 << 10, "line 0 ", 1 << 20},
		{"one more", 1<<10 + 1, "(1 lines before these were dropped)\nline 1 ", 1 << 20},
		{"many more", 5000, "(3976 lines before these were dropped)\nline 3976 ", 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b logbook
			for i := range c.lines {
				text := []byte(fmt.Sprintf("line %d %s", i, line)[:1<<10-1] + "\n")
				if n, err := b.Write(text); n != len(text) || err != nil {
					t.Fatal(n, err)
				}
				copy(text, "whoever writes may use its buffer again")
			}
			got := b.String()
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("it begins with %.60q, want %q", got, c.want)
			}
			if kept := strings.TrimPrefix(got, "("); len(kept) < c.size || len(kept) > c.size+100 {
				t.Errorf("%d bytes are kept, want %d", len(kept), c.size)
			}
		})
	}
	var b logbook
	if _, err := b.Write(bytes.Repeat([]byte("x"), 2*logbookSize)); err != nil || len(b.String()) > 100 {
		t.Errorf("a line with no room at all: error %v, %d bytes are kept", err, len(b.String()))
	}
}

// A machine whose process was killed says at once that nobody listens; one without
// power says nothing, nor one that is paused.
func TestHowTheDeadAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(c *Cluster)
		want error
	}{
		{"running", func(*Cluster) {}, nil},
		{"killed", func(c *Cluster) { c.Kill("n1") }, syscall.ECONNREFUSED},
		{"stopped", func(c *Cluster) { c.Stop("n1") }, syscall.ECONNREFUSED},
		{"without power", func(c *Cluster) { c.CutPower("n1") }, context.DeadlineExceeded},
		{"isolated", func(c *Cluster) { c.Isolate("n1") }, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Run(t, Options{}, func(t *testing.T, cl *Cluster) {
				client := cl.Client()
				c.end(cl)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				conn, err := client.net.Dial(ctx, "n1:"+grpcPort)
				if !errors.Is(err, c.want) {
					t.Errorf("dialled: error %v, want %v", err, c.want)
				}
				if err == nil {
					_ = conn.Close()
				}
			})
		})
	}
}
