package tuning

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// role is what a process of the test binary is, other than the tests.
const role = "TUNING_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "tuned":
		TimerSlack()
	case "removed":
		if err := os.Remove(os.Args[0]); err != nil {
			fmt.Println(err)
		}
		tellFiles()
		TimerSlack()
		tellFiles()
	}
	tell("itself")
	cmd := exec.Command("/bin/sh", "-c", "cat /proc/self/timerslack_ns; echo env; env | grep -c "+execed)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := Untuned(cmd.Start); err != nil {
		fmt.Println(err)
	}
	_ = cmd.Wait() // grep finds nothing
	tell("still")
}

func tell(who string) {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	fmt.Println(who, os.Getpid(), slack, os.Args[1:], err)
}

func tellFiles() {
	var files unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	fmt.Println("files", files.Cur, files.Max, err)
}

// process is what a process of that role says, and its number.
func process(t *testing.T, as string, env ...string) (said string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "a", "b c")
	cmd.Env = append(append(os.Environ(), role+"="+as), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out), cmd.Process.Pid
}

// The process begins anew, as itself, with late timers, and tells no other program of it.
func TestTimerSlack(t *testing.T) {
	said, pid := process(t, "tuned")
	want := fmt.Sprintf("itself %d %d [a b c] <nil>\n%d\nenv\n0\nstill %d %d [a b c] <nil>\n", pid, timerSlack, defaultSlack, pid, timerSlack)
	if said != want {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}
}

// Where the slack does not outlive that, the process does not begin anew for ever.
func TestTimerSlackThatIsLost(t *testing.T) {
	said, pid := process(t, "tuned", execed+"=1")
	if want := fmt.Sprintf("itself %d %d [a b c] <nil>\n", pid, defaultSlack); !strings.HasPrefix(said, want) {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}
}

// Who has more slack already, from its service manager, keeps it.
func TestTimerSlackOfTheServiceManager(t *testing.T) {
	var said string
	for _, as := range []string{"tuned", "plain"} {
		if err := withSlack(3*timerSlack, func() error {
			said, _ = process(t, as)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if words := strings.Fields(said); len(words) < 3 || !slices.Contains(words[:3], fmt.Sprint(3*timerSlack)) {
			t.Errorf("%s: it says\n%s", as, said)
		}
	}
}

// A process that cannot begin anew goes on as it was, and may open as many files: Go has
// raised that, and lowers it before it begins another program.
func TestTimerSlackThatCannotBeHad(t *testing.T) {
	program := filepath.Join(t.TempDir(), "removed")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "ulimit -Sn 100 && exec "+program)
	cmd.Env = append(os.Environ(), role+"=removed")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 || lines[0] != lines[1] || strings.HasPrefix(lines[0], "files 100 ") {
		t.Errorf("before and after it says\n%s", out)
	}
	if want := fmt.Sprintf("itself %d %d [] <nil>", cmd.Process.Pid, defaultSlack); len(lines) < 3 || lines[2] != want {
		t.Errorf("it says\n%s\nwant %s", out, want)
	}
}
