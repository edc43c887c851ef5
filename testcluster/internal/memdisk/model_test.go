package memdisk_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// contents is what a disk holds, in the simplest terms.
type contents struct {
	log  map[uint64]string
	keys map[string]string
}

func (c contents) clone() contents { return contents{maps.Clone(c.log), maps.Clone(c.keys)} }

// model does what a disk does: syncs are forgotten or not, and cuts come in between.
type model struct {
	disk              memdisk.Disk
	handle            host.Disk
	volatile, durable contents
	forgetful         bool
	written           int
}

func (m *model) open(t *rapid.T) {
	var err error
	if m.handle, err = m.disk.Open(); err != nil {
		t.Fatal(err)
	}
}

// did takes note that an operation has succeeded, and changed the volatile contents.
func (m *model) did(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
	if !m.forgetful {
		m.durable = m.volatile.clone()
	}
}

func (m *model) store(t *rapid.T) {
	var list []*raft.Log
	indexes := rapid.SliceOfN(rapid.Uint64Range(1, 20), 1, 5).Draw(t, "indexes")
	if rapid.Bool().Draw(t, "append") {
		last, _ := m.handle.LastIndex()
		indexes = []uint64{last + 1, last + 2}
	}
	for _, index := range indexes {
		m.written++
		e := entry(index, fmt.Sprint(m.written))
		m.volatile.log[index] = string(e.Data)
		list = append(list, e)
	}
	m.did(t, m.handle.StoreLogs(list))
}

func (m *model) delete(t *rapid.T) {
	from, to := rapid.Uint64Range(0, 22).Draw(t, "from"), rapid.Uint64Range(0, 22).Draw(t, "to")
	maps.DeleteFunc(m.volatile.log, func(index uint64, _ string) bool { return from <= index && index <= to })
	m.did(t, m.handle.DeleteRange(from, to))
}

func (m *model) set(t *rapid.T) {
	m.written++
	key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
	m.volatile.keys[key] = fmt.Sprint(m.written)
	m.did(t, m.handle.Set([]byte(key), []byte(m.volatile.keys[key])))
}

func (m *model) cut(t *rapid.T) {
	keep := rapid.Bool().Draw(t, "keep")
	if keep {
		m.durable = m.volatile.clone()
	}
	m.volatile = m.durable.clone()
	m.disk.Cut(keep)
	m.open(t)
}

// check compares all of the disk with the model.
func (m *model) check(t *rapid.T) {
	var first, last uint64
	for i := range uint64(100) {
		var got raft.Log
		err := m.handle.GetLog(i, &got)
		data, ok := m.volatile.log[i]
		if ok != (err == nil) || !ok && !errors.Is(err, raft.ErrLogNotFound) || string(got.Data) != data {
			t.Fatalf("entry %d is %q, %v, want %q", i, got.Data, err, data)
		}
		if ok && first == 0 {
			first = i
		}
		if ok {
			last = i
		}
	}
	gotFirst, _ := m.handle.FirstIndex()
	gotLast, _ := m.handle.LastIndex()
	if gotFirst != first || gotLast != last {
		t.Fatalf("span is %d to %d, want %d to %d", gotFirst, gotLast, first, last)
	}
	for _, key := range []string{"a", "b"} {
		value, err := m.handle.Get([]byte(key))
		if want, ok := m.volatile.keys[key]; string(value) != want || ok != (err == nil) {
			t.Fatalf("key %s is %q, %v, want %q", key, value, err, want)
		}
	}
}

// Whatever is written, synced or not, and cut: the disk holds what it should.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		empty := contents{map[uint64]string{}, map[string]string{}}
		m := &model{volatile: empty, durable: empty.clone()}
		m.disk.SetWriteback(24 * time.Hour)
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"store":  m.store,
			"delete": m.delete,
			"set":    m.set,
			"cut":    m.cut,
			"forget": func(t *rapid.T) { m.forgetful = !m.forgetful; m.disk.ForgetSync(m.forgetful) },
			"":       m.check,
		})
	})
}
