package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const unitFile = "../../deploy/semanode.service"

// unit returns the settings of a systemd unit, those that are given twice joined.
func unit(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	must(t, err)
	settings := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = strings.TrimSpace(settings[key] + " " + value)
		}
	}
	return settings
}

// The unit calls the program as it can be called, and lets it end as it does.
func TestUnitFitsTheProgram(t *testing.T) {
	u := unit(t)
	line := strings.Fields(u["ExecStart"])
	cmd, rest, err := newRootCmd("semanode").Find(line[1:])
	must(t, err)
	if cmd.Name() != "serve" || !filepath.IsAbs(line[0]) {
		t.Errorf("ExecStart=%s", u["ExecStart"])
	}
	must(t, cmd.ParseFlags(rest))
	if u["Type"] != "notify" {
		t.Errorf("Type=%s, but it tells when it is ready", u["Type"])
	}
	// Without the abort a panic, with which Go ends a program with 2 as well, would
	// count as wrong usage, and the node would stay away.
	if u["RestartPreventExitStatus"] != fmt.Sprint(exitUsage, exitRemoved) || u["Restart"] != "on-failure" || !strings.Contains(u["Environment"], "GOTRACEBACK=crash") {
		t.Error("it does not start again after a panic, or does after wrong usage")
	}
	if stop, err := time.ParseDuration(u["TimeoutStopSec"]); err != nil || stop < 15*time.Second {
		t.Errorf("TimeoutStopSec=%s: no time to hand over", u["TimeoutStopSec"])
	}
	if u["TimeoutStartSec"] != "infinity" {
		t.Error("a founding node would be killed while it waits for the others")
	}
	if families := strings.Fields(u["RestrictAddressFamilies"]); !slices.Contains(families, "AF_UNIX") {
		t.Error("it cannot say that it is ready")
	}
}

// Go ends a program that panics, or is sent SIGQUIT, with the code of wrong usage. In the
// unit's environment it ends by a signal instead, so systemd starts it again.
func TestCrashIsNotWrongUsage(t *testing.T) {
	must(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})) // of this process and those it starts: no files with memory in them
	for env, want := range map[string]int{"": exitUsage, unit(t)["Environment"]: -1} {
		addr := freeAddr()
		p := startEnv(t, []string{env}, "serve", "--id", "n1", "--data-dir", t.TempDir(), "--peers", "n1="+addr, "--raft-addr", addr, "--grpc-addr", "127.0.0.1:0", "--log-level", "off")
		p.says("is ready")
		p.signal(syscall.SIGQUIT)
		if r := p.result(); r.code != want {
			t.Errorf("with %q in the environment it ended with %d, want %d", env, r.code, want)
		}
	}
}

// systemd itself has nothing to say against the unit, and little against how much the
// node may do.
func TestUnitBySystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	data, err := os.ReadFile(unitFile)
	must(t, err)
	path := filepath.Join(t.TempDir(), "semanode.service")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "/usr/bin/semanode", "/bin/true")), 0o600)) // it looks whether that is there
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if help, _ := exec.Command(analyze, "--help").Output(); !strings.Contains(string(help), "--offline") {
		t.Log("this systemd-analyze cannot judge the exposure of what is not installed")
		return
	}
	if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=yes", "--threshold=15", path).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
