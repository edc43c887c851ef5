package disklog_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/semanode/sema/internal/disklog"
)

// TestLikeAList does at random what raft does with its log, restarts and kills among
// it, and holds it to a list.
func TestLikeAList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t)
		l := d.mustOpen(t)
		var want []*raft.Log
		last, term := uint64(0), uint64(1)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				entries := batch(last, term, rapid.IntRange(1, 40).Draw(rt, "n"), rapid.IntRange(0, 3000).Draw(rt, "size"))
				store(t, l, entries)
				want, last = append(want, entries...), last+uint64(len(entries))
			},
			"a long append": func(rt *rapid.T) { // longer than a segment
				entries := batch(last, term, 3, rapid.IntRange(segmentSize, 1<<20).Draw(rt, "size"))
				store(t, l, entries)
				want, last = append(want, entries...), last+3
			},
			"cut the beginning": func(rt *rapid.T) {
				if len(want) == 0 {
					rt.Skip()
				}
				n := rapid.IntRange(1, len(want)).Draw(rt, "n")
				if err := l.DeleteRange(want[0].Index, want[n-1].Index); err != nil {
					t.Fatal(err)
				}
				want = want[n:]
			},
			"cut the end": func(rt *rapid.T) {
				if len(want) < 2 {
					rt.Skip()
				}
				n := rapid.IntRange(1, len(want)-1).Draw(rt, "n")
				if err := l.DeleteRange(want[n].Index, last); err != nil {
					t.Fatal(err)
				}
				want, last, term = want[:n], want[n-1].Index, term+1
			},
			"a snapshot comes": func(rt *rapid.T) {
				if len(want) > 0 {
					if err := l.DeleteRange(want[0].Index, last); err != nil {
						t.Fatal(err)
					}
				}
				want, last = nil, last+rapid.Uint64Range(0, 1000).Draw(rt, "ahead")
			},
			"restart": func(*rapid.T) {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				holds(t, check(t, d), want)
				l = d.mustOpen(t)
			},
			"kill": func(*rapid.T) {
				d = d.image(t)
				holds(t, check(t, d), want)
				l = d.mustOpen(t)
			},
			"": func(*rapid.T) { holds(t, l, want) },
		})
	})
}

// TestEveryFieldIsStored fails when raft's entries have a new field.
func TestEveryFieldIsStored(t *testing.T) {
	t.Parallel()
	want := *entry(1, 2, 3)
	want.Type, want.Extensions = raft.LogConfiguration, []byte("more")
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set here", v.Type().Field(i).Name)
		}
	}
	d := newDisk(t)
	l := d.mustOpen(t)
	store(t, l, []*raft.Log{&want})
	var got raft.Log
	if err := l.GetLog(1, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestReadWhileCut reads entries while they are removed: each is there or is not.
func TestReadWhileCut(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	const all = 2000
	for last := uint64(0); last < all; last += 20 {
		store(t, l, batch(last, 1, 20, 1000))
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := uint64(1); ; i = i%all + 1 {
				select {
				case <-done:
					return
				default:
				}
				var e raft.Log
				if err := l.GetLog(i, &e); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("entry %d: %v", i, err)
					return
				}
			}
		})
	}
	for i := uint64(1); i < all; i += 7 {
		if err := l.DeleteRange(i, i+6); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// TestOnlyWhatRaftDoes: the middle cannot be removed, and no entry left out.
func TestOnlyWhatRaftDoes(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	store(t, l, batch(0, 1, 10, 100))
	if err := l.DeleteRange(3, 5); err == nil {
		t.Error("the middle was removed")
	}
	if err := l.StoreLog(entry(12, 1, 1)); err == nil {
		t.Error("entry 11 was left out")
	}
	holds(t, l, batch(0, 1, 10, 100))
}

// TestClosed: what is closed says so.
func TestClosed(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, first := l.FirstIndex()
	_, last := l.LastIndex()
	for i, err := range []error{first, last, l.GetLog(1, new(raft.Log)), l.StoreLog(entry(1, 1, 1)), l.DeleteRange(1, 1)} {
		if err == nil {
			t.Errorf("call %d had no error", i)
		}
	}
}

// TestNextSegmentCannotBeMade: the reason is told, and when it is gone, so is the
// trouble.
func TestNextSegmentCannotBeMade(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	store(t, l, batch(0, 1, 1, 100))
	d.mu.Lock()
	d.fail = errors.New("no space left")
	d.mu.Unlock()
	store(t, l, batch(1, 1, 1, segmentSize)) // fills the segment
	err := l.StoreLogs(batch(2, 1, 1, 100))
	if !errors.Is(err, d.fail) {
		t.Fatalf("%v, want one with %v", err, d.fail)
	}
	if _, err := d.image(t).open(); err != nil {
		t.Fatal(err)
	}
	want := append(batch(0, 1, 1, 100), batch(1, 1, 1, segmentSize)...)
	again := d.image(t)
	l = again.mustOpen(t)
	holds(t, l, want)
	store(t, l, batch(2, 1, 1, 100))
}

func BenchmarkStoreLogs(b *testing.B) {
	for _, size := range []int{100, 4000, 40000} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			d := newDisk(b)
			l, err := disklog.Open(disklog.Options{Dir: d.dir, Store: d})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			last := uint64(0)
			for b.Loop() {
				last++
				if err := l.StoreLog(entry(last, 1, size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
