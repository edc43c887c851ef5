//go:build unix

// Package proc runs the processes of a benchmark so that none outlives it: each is
// the leader of a process group that is killed as one, and on Linux the kernel
// kills it if the benchmark itself is killed.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/semanode/sema/internal/tuning"
)

// outputDelay is how long output is waited for after the process itself has ended:
// what it left running may keep its pipes open.
const outputDelay = 5 * time.Second

// Spec says what to run.
type Spec struct {
	Path string
	Args []string
	Dir  string
	// Env is added to the environment.
	Env []string
	// Ready is the text in a line of its output by which it tells that it serves.
	Ready string
	// As, if set, is the user to run it as.
	As *syscall.Credential
	// OnOrphan is the signal that it gets if the benchmark dies (Linux only).
	// SIGKILL if zero.
	OnOrphan syscall.Signal
}

// Process is a running process. Its methods may be called from many goroutines.
type Process struct {
	spec  Spec
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
	kill  func() error // once: later its number may be somebody else's
}

// Start starts a process. Whoever starts it calls Kill or Stop in the end.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = attributes(spec)
	cmd.WaitDelay = outputDelay
	p := &Process{spec: spec, cmd: cmd, out: newOutput(spec.Ready), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := tuning.Untuned(cmd.Start); err != nil { // those that are measured tune themselves
		return nil, fmt.Errorf("start %s: %w", filepath.Base(spec.Path), err)
	}
	p.kill = sync.OnceValue(func() error { return killGroup(cmd.Process.Pid) })
	go func() { // ends with the process
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return p, nil
}

// Run runs a program to its end and returns what it printed.
func Run(ctx context.Context, spec Spec) (string, error) {
	cmd := exec.CommandContext(ctx, spec.Path, spec.Args...)
	cmd.Dir, cmd.Env = spec.Dir, append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = attributes(spec)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = outputDelay
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := tuning.Untuned(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(spec.Path), err, bytes.TrimSpace(out.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

// WaitReady waits until the process has said that it serves.
func (p *Process) WaitReady(ctx context.Context) error {
	select {
	case <-p.out.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended (%v) before it was ready; it said last:\n%s", filepath.Base(p.spec.Path), p.cmd.ProcessState, p.out.tail())
	case <-ctx.Done():
		return fmt.Errorf("%s is not ready: %w; it said last:\n%s", filepath.Base(p.spec.Path), context.Cause(ctx), p.out.tail())
	}
}

// Pid is the number of the process, which may be somebody else's once it has ended.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process has.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err tells with what it said last that the process ended by itself. It is nil as
// long as it runs.
func (p *Process) Err() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended (%v); it said last:\n%s", filepath.Base(p.spec.Path), p.cmd.ProcessState, p.out.tail())
	default:
		return nil
	}
}

// Signal sends a signal to the process alone. That it has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill kills the process and its group, and waits for its end. It is idempotent.
func (p *Process) Kill() error {
	err := p.kill()
	<-p.ended
	return err
}

// Stop asks the process to end with a signal, and kills it if it has not within a
// time. Either way it has ended when Stop returns.
func (p *Process) Stop(sig syscall.Signal, within time.Duration) error {
	err := p.Signal(sig)
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
	}
	return errors.Join(err, p.Kill())
}

func killGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", pid, err)
	}
	return nil
}
