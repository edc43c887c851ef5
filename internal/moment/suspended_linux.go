package moment

import (
	"syscall"
	"time"
	"unsafe"
)

// See clock_gettime(2).
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// suspended is how far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. It is right to
// within maxReading, also if this thread is stopped in between: then it looks
// again.
func suspended() time.Duration {
	for {
		before := gettime(clockMonotonic)
		boot := gettime(clockBoottime)
		after := gettime(clockMonotonic)
		if after-before <= maxReading {
			return (boot - after).Round(maxReading) // its differences are what counts
		}
	}
}

func gettime(clock uintptr) time.Duration {
	var ts syscall.Timespec
	// It cannot fail: both clocks exist since Linux 2.6.39, and ts is ours.
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
