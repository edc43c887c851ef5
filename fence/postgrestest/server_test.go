//go:build unix

// Package postgrestest_test runs what package fence and docs/fencing.md say about
// PostgreSQL against a real one.
package postgrestest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// require makes a machine without PostgreSQL fail instead of skip: for CI.
const require = "SEMA_REQUIRE_POSTGRES"

// server is a PostgreSQL that listens on a socket in its own directory and is gone,
// with everything in it, when the tests are: also when they are killed, because
// the shell that started it ends it when its standard input ends.
type server struct {
	dir string
	cmd *exec.Cmd
	in  io.Closer
}

var (
	pg       *server
	noServer error // why there is none; the tests skip
)

func TestMain(m *testing.M) {
	bin, err := binaries()
	if err != nil {
		noServer = err
	} else if pg, err = start(bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if pg != nil {
		pg.stop()
	}
	os.Exit(code)
}

// binaries finds the directory with the server's programs.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if postgres, err := exec.LookPath("postgres"); err == nil && filepath.Dir(postgres) == filepath.Dir(path) {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("no PostgreSQL server: initdb and postgres are neither in PATH nor in /usr/lib/postgresql/*/bin (apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// start makes a database and returns when it takes connections. On failure it
// leaves nothing behind.
func start(bin string) (_ *server, err error) {
	dir, err := os.MkdirTemp("", "fence") // not t.TempDir: its parent is closed to other users
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.cmd = exec.Command("/bin/sh", "-c", `dir=$0; "$@" & read -r _; kill -QUIT $!; wait $!; rm -rf "$dir"`, dir,
		filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-F", "-c", "listen_addresses=", "-c", "logging_collector=off")
	s.cmd.SysProcAttr, s.cmd.Dir = as, dir
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, log) }() // until the server ends
			return s, nil
		}
		if said = append(said, lines.Text()); strings.Contains(lines.Text(), "FATAL") {
			break
		}
	}
	return nil, fmt.Errorf("postgres did not start:\n%s", strings.Join(said, "\n"))
}

func (s *server) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.in.Close()
		_ = s.cmd.Wait() // ends with the status of a server that was told to quit
	}
	_ = os.RemoveAll(s.dir)
}

// unprivileged returns how to run the server, which refuses to be root, and gives
// it the directory.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errU, errG); err != nil {
			return nil, err
		}
		as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return as, os.Chown(dir, int(uid), int(gid))
	}
	return nil, errors.New("running as root, and there is no user postgres or nobody to run the server as")
}

// skipWithoutServer skips, or fails if a server is required.
func skipWithoutServer(t *testing.T) {
	t.Helper()
	switch {
	case noServer == nil:
	case os.Getenv(require) == "1":
		t.Fatalf("%v, and %s=1", noServer, require)
	default:
		t.Skip(noServer)
	}
}
