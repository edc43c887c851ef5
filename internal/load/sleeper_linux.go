package load

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFile is a timer of the kernel's, as a file: what waits for it is a goroutine
// and not a thread, and what wakes it is an event like those of sockets. So it is as
// precise as the kernel.
type timerFile struct {
	file *os.File
	raw  int
	read [8]byte
}

// preciseSleeper returns the most precise one that there is.
func preciseSleeper() (sleeper, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &timerFile{file: os.NewFile(uintptr(fd), "timerfd"), raw: fd}, nil
}

func (t *timerFile) sleep(d time.Duration) error {
	in := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // 0 would disarm it
	if err := unix.TimerfdSettime(t.raw, 0, &in, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	if _, err := t.file.Read(t.read[:]); err != nil {
		return err
	}
	if n := binary.NativeEndian.Uint64(t.read[:]); n != 1 {
		return fmt.Errorf("a timer that was set once fired %d times", n)
	}
	return nil
}

func (t *timerFile) close() error { return t.file.Close() }
