package memdisk_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// wantText is for errors that raft knows by their text.
func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Fatalf("error is %v, want the text %q", err, want)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %+v, want %+v", what, got, want)
	}
}

func open(t *testing.T, d *memdisk.Disk) host.Disk {
	t.Helper()
	h, err := d.Open()
	noError(t, err)
	return h
}

func entry(index uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Data: []byte(data)}
}

// fill stores entries that hold ".".
func fill(t *testing.T, d raft.LogStore, from, to uint64) {
	t.Helper()
	var list []*raft.Log
	for i := from; i <= to; i++ {
		list = append(list, entry(i, "."))
	}
	noError(t, d.StoreLogs(list))
}

func span(t *testing.T, d raft.LogStore, first, last uint64) {
	t.Helper()
	f, err := d.FirstIndex()
	noError(t, err)
	l, err := d.LastIndex()
	noError(t, err)
	want(t, "first and last index", [2]uint64{f, l}, [2]uint64{first, last})
}

// holds checks that the log has these entries, "1a 2b", and none among the first
// 200 indexes beside.
func holds(t *testing.T, d raft.LogStore, text string) {
	t.Helper()
	listed := make(map[uint64]bool)
	for _, field := range strings.Fields(text) {
		var index uint64
		var data string
		if _, err := fmt.Sscanf(field, "%d%s", &index, &data); err != nil {
			t.Fatal(err)
		}
		listed[index] = true
		var got raft.Log
		if err := d.GetLog(index, &got); err != nil {
			t.Fatalf("entry %d: %v", index, err)
		}
		want(t, "entry", fmt.Sprintf("%d%s", got.Index, got.Data), field)
	}
	for i := range uint64(200) {
		if err := d.GetLog(i, &raft.Log{}); !listed[i] && !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d should not be there: %v", i, err)
		}
	}
}

func transport(t *testing.T) raft.Transport {
	_, trans := raft.NewInmemTransport("a1")
	t.Cleanup(func() { _ = trans.Close() })
	return trans
}

// begin creates a snapshot that has its data and is still to be closed.
func begin(t *testing.T, d raft.SnapshotStore, index uint64, data string) raft.SnapshotSink {
	t.Helper()
	members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a1"}}}
	sink, err := d.Create(1, index, 1, members, 4, transport(t))
	noError(t, err)
	_, err = io.WriteString(sink, data)
	noError(t, err)
	return sink
}

func snapshot(t *testing.T, d raft.SnapshotStore, index uint64, data string) (id string) {
	t.Helper()
	sink := begin(t, d, index, data)
	noError(t, sink.Close())
	return sink.ID()
}

// lists checks the snapshots and what they hold: "20:data 10:data".
func lists(t *testing.T, d raft.SnapshotStore, text string) {
	t.Helper()
	list, err := d.List()
	noError(t, err)
	var got []string
	for _, listed := range list {
		meta, r, err := d.Open(listed.ID)
		noError(t, err)
		data, err := io.ReadAll(r)
		noError(t, err)
		noError(t, r.Close())
		got = append(got, fmt.Sprintf("%d:%s", meta.Index, data))
	}
	want(t, "snapshots", strings.Join(got, " "), text)
}

// start runs an operation beside the test; its error arrives in the channel.
func start(op func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- op() }()
	return done
}

// underWay checks that an operation has not returned.
func underWay(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Fatalf("the operation has returned %v", err)
	default:
	}
}

// returned is what an operation has returned, which is now.
func returned(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	default:
		t.Fatal("the operation is still under way")
		return nil
	}
}
