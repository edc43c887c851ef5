package cluster

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

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
	stop := (&store{clock: host.System().Clock, limit: 50 * time.Millisecond, fail: func(err error) { stalled <- err }}).watch("a write")
	defer stop()
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
	stop := (&store{clock: host.System().Clock, limit: 2 * time.Second, fail: func(err error) { os.Stdout.WriteString(err.Error()) }}).watch("a write")
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the pipe
	stop()
}
