package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/semanode/sema/internal/boltfile"
)

// written is a file in which a lot was written and removed, with a bucket that is in a
// page of its parent.
func written(t testing.TB, freelist bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: !freelist, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range uint64(40) {
		if err := db.Update(func(tx *bbolt.Tx) error {
			small, err := tx.CreateBucketIfNotExists([]byte("small"))
			if err != nil {
				return err
			}
			if err := small.Put([]byte("key"), []byte("value")); err != nil {
				return err
			}
			log, err := tx.CreateBucketIfNotExists([]byte("log"))
			if err != nil {
				return err
			}
			for j := range uint64(20) {
				key := binary.BigEndian.AppendUint64(nil, i*20+j)
				if err := log.Put(key, bytes.Repeat([]byte{byte(i) | 1}, int(j)*300)); err != nil {
					return err
				}
				if i > 10 {
					if err := log.Delete(binary.BigEndian.AppendUint64(nil, (i-10)*20+j)); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := boltfile.Check(path); err != nil {
			t.Fatalf("after transaction %d: %v", i, err)
		}
	}
	return path
}

func TestWhatBoltWritesIsRight(t *testing.T) {
	t.Parallel()
	written(t, false)
	written(t, true)
	empty := filepath.Join(t.TempDir(), "bolt.db")
	db, err := bbolt.Open(empty, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := boltfile.Check(empty); err != nil {
		t.Error(err)
	}
}

// TestDamage changes things anywhere in the file. What Check lets pass bbolt opens for
// writing, reads through, writes to and checks: none of that may end this process.
func TestDamage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	whole, err := os.ReadFile(written(t, false))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bolt.db")
	passed, refused := 0, 0
	for range 300 {
		data := bytes.Clone(whole)
		switch at := r.IntN(len(data)); r.IntN(5) {
		case 0:
			data = data[:at]
		case 1:
			data[at] ^= 1 << r.IntN(8)
		case 2: // the beginning of a page
			data[at-at%4096+r.IntN(48)] ^= 1 << r.IntN(8)
		case 3:
			clear(data[at-at%512 : at-at%512+512])
		case 4:
			clear(data[at:])
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := boltfile.Check(path); err != nil {
			refused++
			continue
		}
		passed++
		use(t, path)
	}
	t.Logf("%d passed, %d refused", passed, refused)
	if passed == 0 || refused == 0 {
		t.Error("they were all alike")
	}
}

func use(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		log := tx.Bucket([]byte("log"))
		if log == nil {
			return nil // another name: that is content
		}
		if err := log.ForEach(func(k, v []byte) error { return nil }); err != nil {
			return err
		}
		return log.Put([]byte("new"), []byte("value"))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestMeta: bbolt would take the older one.
func TestMeta(t *testing.T) {
	t.Parallel()
	path := written(t, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{20, 4096 + 20} {
		data := bytes.Clone(whole)
		data[at+40] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := boltfile.Check(path); err == nil || !strings.Contains(err.Error(), "what was written last may be lost") {
			t.Error(err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	data, err := os.ReadFile(written(f, false))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:4096*6])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "bolt.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = boltfile.Check(path) // must not panic
	})
}
