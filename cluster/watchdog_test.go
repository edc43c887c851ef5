package cluster

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

// watchEnv makes this test's own process the one that is stopped.
const watchEnv = "SEMA_TEST_WATCH"

// TestPauseIsNoStall stops a process for longer than the watchdog's limit while a
// disk operation is under way, and lets it go on: only time in which the process
// ran may count. The same operation, left alone, is a stall.
func TestPauseIsNoStall(t *testing.T) {
	t.Parallel()
	if os.Getenv(watchEnv) != "" {
		watchUntilStdinCloses()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestPauseIsNoStall$")
	cmd.Env = append(os.Environ(), watchEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(500 * time.Millisecond) // real time, as the process's is: half of its limit of 2 s at most
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * time.Second)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Contains(out.String(), "disk stalled") {
		t.Fatalf("a pause was taken for a stall: %v\n%s", err, out.String())
	}

	stalled := make(chan error, 1)
	s := &store{clock: host.System().Clock, limit: 50 * time.Millisecond, fail: func(err error) { stalled <- err }}
	s.watch("another").stop() // which is used again
	defer s.watch("a write").stop()
	select {
	case err := <-stalled:
		if !strings.Contains(err.Error(), "disk stalled") {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("an operation that does not end is not noticed")
	}
}

// watchUntilStdinCloses is an operation that ends when its parent says so.
func watchUntilStdinCloses() {
	op := (&store{clock: host.System().Clock, limit: 2 * time.Second, fail: func(err error) { os.Stdout.WriteString(err.Error()) }}).watch("a write")
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the pipe
	op.stop()
}

// TestNothingIsWrittenAfterAFailure: a disk that failed once is not asked again.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	t.Parallel()
	disk := &failingDisk{err: errors.New("no space left")}
	told := 0
	s := &store{disk: disk, clock: host.System().Clock, limit: time.Minute, fail: func(error) { told++ }, opened: make(chan struct{})}
	first := s.StoreLog(&raft.Log{Index: 1})
	disk.err = nil
	for i, err := range []error{first, s.StoreLog(&raft.Log{Index: 1}), s.DeleteRange(1, 1), s.Set(termKey, nil), s.SetUint64(termKey, 1)} {
		if !errors.Is(err, first) || !strings.Contains(err.Error(), "disk failed: writing the log: no space left") {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if disk.writes != 1 || told == 0 {
		t.Errorf("%d writes came to the disk, the node was told %d times", disk.writes, told)
	}
}

type failingDisk struct {
	host.Disk
	err    error
	writes int
}

func (d *failingDisk) StoreLogs([]*raft.Log) error        { d.writes++; return d.err }
func (d *failingDisk) DeleteRange(_, _ uint64) error      { d.writes++; return d.err }
func (d *failingDisk) Set(_, _ []byte) error              { d.writes++; return d.err }
func (d *failingDisk) SetUint64(_ []byte, _ uint64) error { d.writes++; return d.err }

func BenchmarkWatch(b *testing.B) {
	s := &store{clock: host.System().Clock, limit: time.Minute}
	b.ReportAllocs()
	for b.Loop() {
		s.watch("a write").stop()
	}
}
