//go:build unix

package main

import "syscall"

// openFiles is how many files, connections among them, the process may have open. Go has
// raised the soft limit to the hard one already, unless the process was given it by itself.
func openFiles() (most uint64, known bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err == nil // signed on some systems
}
