package proc

import "syscall"

func attributes(spec Spec) *syscall.SysProcAttr {
	orphan := spec.OnOrphan
	if orphan == 0 {
		orphan = syscall.SIGKILL
	}
	return &syscall.SysProcAttr{Setpgid: true, Credential: spec.As, Pdeathsig: orphan}
}
