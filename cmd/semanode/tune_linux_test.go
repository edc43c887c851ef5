package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A node's timers may be late, which spares it and its disk much work; other commands are
// as they were started.
func TestServeHasLateTimers(t *testing.T) {
	c := startNodes(t, 1)
	if own, err := os.ReadFile("/proc/self/timerslack_ns"); err != nil || strings.TrimSpace(string(own)) != "50000" {
		t.Skipf("this process has a slack of its own: %s%v", own, err)
	}
	slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", c.processes[0].cmd.Process.Pid))
	if err != nil {
		t.Skip(err) // that of another process is for who has CAP_SYS_NICE
	}
	if got := strings.TrimSpace(string(slack)); got != "1000000" {
		t.Errorf("serve has a timer slack of %s ns, want a millisecond", got)
	}
}
