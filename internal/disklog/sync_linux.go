package disklog

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData waits until what was written is on disk, and the file's length if it
// has grown.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
