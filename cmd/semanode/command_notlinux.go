//go:build unix && !linux

package main

import "syscall"

// dieWithParent: there is no such thing here.
func dieWithParent(*syscall.SysProcAttr) {}

// adoptOrphans: the first process of the system does.
func adoptOrphans() {}
