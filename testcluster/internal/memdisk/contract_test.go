package memdisk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// directory is a real disk, such as a node has.
type directory struct {
	*raftboltdb.BoltStore
	*raft.FileSnapshotStore
}

func openDirectory(t *testing.T, dir string) host.Disk {
	t.Helper()
	bolt, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	noError(t, err)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, hclog.NewNullLogger())
	noError(t, err)
	return directory{bolt, snapshots}
}

// contract is what raft expects of a disk. The same holds for a real one.
var contract = []struct {
	name  string
	check func(*testing.T, host.Disk)
}{
	{"an empty disk", func(t *testing.T, d host.Disk) {
		span(t, d, 0, 0)
		wantErr(t, d.GetLog(1, &raft.Log{}), raft.ErrLogNotFound)
		noError(t, d.DeleteRange(1, 10))
		if list, err := d.List(); err != nil || len(list) != 0 {
			t.Fatalf("List: %v, %v", list, err)
		}
		existing, err := raft.HasExistingState(d, d, d)
		if err != nil || existing {
			t.Fatalf("HasExistingState: %v, %v", existing, err)
		}
	}},
	{"append and overwrite", func(t *testing.T, d host.Disk) {
		noError(t, d.StoreLog(entry(1, "a")))
		noError(t, d.StoreLogs([]*raft.Log{entry(2, "b"), entry(3, "c")}))
		noError(t, d.StoreLogs([]*raft.Log{entry(3, "C"), entry(4, "D")}))
		noError(t, d.StoreLogs(nil))
		holds(t, d, "1a 2b 3C 4D")
		span(t, d, 1, 4)
		wantErr(t, d.GetLog(0, &raft.Log{}), raft.ErrLogNotFound)
		wantErr(t, d.GetLog(5, &raft.Log{}), raft.ErrLogNotFound)
		wantErr(t, d.GetLog(math.MaxUint64, &raft.Log{}), raft.ErrLogNotFound)
	}},
	{"every field", func(t *testing.T, d host.Disk) {
		want := raft.Log{Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("data"),
			Extensions: []byte("more"), AppendedAt: time.Now()}
		noError(t, d.StoreLog(&want))
		var got raft.Log
		noError(t, d.GetLog(7, &got))
		if got.Index != 7 || got.Term != 3 || got.Type != want.Type || string(got.Data) != "data" ||
			string(got.Extensions) != "more" || !got.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("stored %+v, got %+v", want, got)
		}
		if strings.Contains(got.AppendedAt.String(), "m=") {
			t.Fatal("a monotonic reading survived the disk")
		}
	}},
	{"delete at the front", func(t *testing.T, d host.Disk) {
		fill(t, d, 1, 6)
		noError(t, d.DeleteRange(0, 2))
		span(t, d, 3, 6)
		holds(t, d, "3. 4. 5. 6.")
		noError(t, d.StoreLog(entry(7, "x")))
		holds(t, d, "3. 4. 5. 6. 7x")
	}},
	{"delete at the back", func(t *testing.T, d host.Disk) {
		fill(t, d, 1, 6)
		noError(t, d.DeleteRange(5, 100))
		span(t, d, 1, 4)
		noError(t, d.StoreLog(entry(5, "x")))
		holds(t, d, "1. 2. 3. 4. 5x")
	}},
	{"delete in the middle, nothing, all", func(t *testing.T, d host.Disk) {
		fill(t, d, 1, 6)
		noError(t, d.DeleteRange(3, 4))
		holds(t, d, "1. 2. 5. 6.")
		noError(t, d.DeleteRange(3, 4))
		noError(t, d.DeleteRange(6, 5))
		holds(t, d, "1. 2. 5. 6.")
		noError(t, d.DeleteRange(1, 6))
		span(t, d, 0, 0)
		fill(t, d, 100, 101)
		span(t, d, 100, 101)
	}},
	{"gaps", func(t *testing.T, d host.Disk) {
		fill(t, d, 1, 3)
		noError(t, d.StoreLogs([]*raft.Log{entry(1_000_000_000_000, "x"), entry(1_000_000_000_001, "y")}))
		span(t, d, 1, 1_000_000_000_001)
		wantErr(t, d.GetLog(4, &raft.Log{}), raft.ErrLogNotFound)
		holds(t, d, "1. 2. 3. 1000000000000x 1000000000001y")
		noError(t, d.StoreLog(entry(50, "between")))
		noError(t, d.DeleteRange(2, 49))
		holds(t, d, "1. 50between 1000000000000x 1000000000001y")
		noError(t, d.DeleteRange(1, 999_999_999_999))
		span(t, d, 1_000_000_000_000, 1_000_000_000_001)
	}},
	{"keys", func(t *testing.T, d host.Disk) {
		_, err := d.Get([]byte("vote"))
		wantText(t, err, "not found")
		_, err = d.GetUint64([]byte("term"))
		wantText(t, err, "not found")
		noError(t, d.Set([]byte("vote"), []byte("a")))
		noError(t, d.Set([]byte("vote"), []byte("b")))
		noError(t, d.Set([]byte("empty"), nil))
		noError(t, d.SetUint64([]byte("term"), math.MaxUint64))
		if vote, err := d.Get([]byte("vote")); err != nil || string(vote) != "b" {
			t.Fatalf("Get: %q, %v", vote, err)
		}
		if empty, err := d.Get([]byte("empty")); err != nil || len(empty) != 0 {
			t.Fatalf("Get of an empty value: %q, %v", empty, err)
		}
		if term, err := d.GetUint64([]byte("term")); err != nil || term != math.MaxUint64 {
			t.Fatalf("GetUint64: %d, %v", term, err)
		}
	}},
	{"nothing is aliased", func(t *testing.T, d host.Disk) {
		mine := &raft.Log{Index: 1, Data: []byte("data"), Extensions: []byte("more")}
		key, value := []byte("k"), []byte("value")
		noError(t, d.StoreLog(mine))
		noError(t, d.Set(key, value))
		for range 2 { // what went in, then what came out
			copy(mine.Data, "XXXX")
			copy(mine.Extensions, "XXXX")
			copy(value, "XXXXX")
			mine = &raft.Log{}
			noError(t, d.GetLog(1, mine))
			var err error
			value, err = d.Get(key)
			noError(t, err)
			if string(mine.Data) != "data" || string(mine.Extensions) != "more" || string(value) != "value" {
				t.Fatalf("got %q, %q and %q", mine.Data, mine.Extensions, value)
			}
		}
	}},
	{"snapshots, newest first, two of them", func(t *testing.T, d host.Disk) {
		first := snapshot(t, d, 10, "ten")
		snapshot(t, d, 20, "twenty")
		snapshot(t, d, 30, "thirty")
		lists(t, d, "30:thirty 20:twenty")
		if _, _, err := d.Open(first); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Open of one that is gone: %v", err)
		}
		list, err := d.List()
		noError(t, err)
		list[0].Configuration.Servers[0].ID = "XXXX" // nobody else's
		meta, r, err := d.Open(list[0].ID)
		noError(t, err)
		noError(t, r.Close())
		if meta.Version != 1 || meta.Term != 1 || meta.Index != 30 || meta.ConfigurationIndex != 4 || meta.Size != 6 ||
			len(meta.Configuration.Servers) != 1 || meta.Configuration.Servers[0].ID != "n1" {
			t.Fatalf("record: %+v", meta)
		}
	}},
	{"a snapshot appears when it is closed", func(t *testing.T, d host.Disk) {
		members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a1"}}}
		_, err := d.Create(0, 1, 1, members, 1, transport(t))
		wantText(t, err, "unsupported snapshot version 0")
		cancelled, err := d.Create(1, 5, 1, members, 4, transport(t))
		noError(t, err)
		sink, err := d.Create(1, 6, 1, members, 4, transport(t))
		noError(t, err)
		for _, part := range []string{"six", "teen"} {
			buf := []byte(part)
			if n, err := sink.Write(buf); n != len(buf) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
			copy(buf, "XXXX")
		}
		_, err = cancelled.Write([]byte("x"))
		noError(t, err)
		lists(t, d, "")
		noError(t, cancelled.Cancel())
		noError(t, sink.Close())
		noError(t, sink.Close())
		noError(t, sink.Cancel())
		lists(t, d, "6:sixteen")
	}},
	{"a reader outlives its snapshot", func(t *testing.T, d host.Disk) {
		id := snapshot(t, d, 10, strings.Repeat("x", 10_000))
		_, r, err := d.Open(id)
		noError(t, err)
		snapshot(t, d, 20, "20")
		snapshot(t, d, 30, "30")
		data, err := io.ReadAll(r)
		if noError(t, err); !bytes.Equal(data, bytes.Repeat([]byte("x"), 10_000)) {
			t.Fatalf("read %d bytes of 10000", len(data))
		}
		noError(t, r.Close())
	}},
}

func TestSnapshotDoesNotAliasItsMembers(t *testing.T) {
	d := open(t, new(memdisk.Disk))
	members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a1"}}}
	sink, err := d.Create(1, 1, 1, members, 4, nil)
	noError(t, err)
	members.Servers[0].ID = "XXXX"
	noError(t, sink.Close())
	list, err := d.List()
	noError(t, err)
	want(t, "member", list[0].Configuration.Servers[0].ID, "n1")
}

func TestContract(t *testing.T) {
	disks := []struct {
		name string
		open func(*testing.T) host.Disk
	}{
		{"memory", func(t *testing.T) host.Disk { return open(t, new(memdisk.Disk)) }},
		{"wrapped memory", func(t *testing.T) host.Disk {
			return new(memdisk.Disk).Wrap(open(t, new(memdisk.Disk)))
		}},
		{"wrapped directory", func(t *testing.T) host.Disk {
			return new(memdisk.Disk).Wrap(openDirectory(t, t.TempDir()))
		}},
	}
	for _, disk := range disks {
		for _, c := range contract {
			t.Run(disk.name+"/"+c.name, func(t *testing.T) {
				d := disk.open(t)
				c.check(t, d)
				noError(t, d.Close())
				noError(t, d.Close())
				wantErr(t, d.StoreLog(entry(1, "a")), fs.ErrClosed)
				_, err := d.LastIndex()
				wantErr(t, err, fs.ErrClosed)
			})
		}
	}
}
