package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFileSystemIsThatOfTheDeepestMount(t *testing.T) {
	mounts := filepath.Join(t.TempDir(), "mounts")
	text := `/dev/sda1 / ext4 rw 0 0
tmpfs /srv tmpfs rw 0 0
/dev/sdb1 /srv/data xfs rw 0 0
/dev/sdc1 /srv/data btrfs rw 0 0
/dev/sdd1 /srv/dat zfs rw 0 0
`
	if err := os.WriteFile(mounts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"/x": "ext4", "/srv": "tmpfs", "/srv/data": "btrfs", "/srv/data/a/b": "btrfs", "/srv/database": "tmpfs"} {
		if got := fileSystem(mounts, dir); got != want {
			t.Errorf("%s is on %q, want %q", dir, got, want)
		}
	}
}
