package host

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func look(f *Facts, dir string) {
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		f.CPU = model
	}
	kb, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.Atoi(kb); err == nil {
		f.MemoryGB = (n + 1<<19) >> 20
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		f.Kernel = "Linux " + unix.ByteSliceToString(name.Release[:])
	}
	if kind := fileSystem("/proc/self/mounts", dir); kind != "" {
		f.FileSystem = kind
	}
}

// field returns what stands behind the first "name :" in a file of /proc.
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem returns the type of what is mounted deepest above dir.
func fileSystem(mounts, dir string) (kind string) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	file, err := os.Open(mounts)
	if err != nil {
		return ""
	}
	defer file.Close()
	deepest := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		mount := strings.Fields(lines.Text()) // what, where, type, options
		if len(mount) < 3 {
			continue
		}
		above := strings.TrimSuffix(mount[1], "/") + "/"
		if strings.HasPrefix(dir+"/", above) && len(above) >= deepest { // a later mount hides an earlier one
			deepest, kind = len(above), mount[2]
		}
	}
	return kind
}

// syncData makes the data last, and of the file's attributes only what reading it needs.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// Settle writes out what earlier measurements left in memory, so that the next does
// not wait for it.
func Settle() { unix.Sync() }
