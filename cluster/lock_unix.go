//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package cluster

import (
	"os"
	"syscall"
)

// lockFile locks a file until it is closed, and fails if somebody else has. The lock ends
// with its process, however that ends.
func lockFile(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EINTR {
			return err
		}
	}
}
