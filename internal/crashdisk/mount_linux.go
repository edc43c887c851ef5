package crashdisk

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// Format puts an empty ext4 on the disk, with blocks of this size.
func (d *Disk) Format(size, block int) error {
	f, err := os.CreateTemp("", "crashdisk")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		return err
	}
	if err := run("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4", "-b", strconv.Itoa(block), f.Name()); err != nil {
		return err
	}
	image, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	d.Load(image)
	return nil
}

// Mount mounts the ext4 on the disk, which repairs itself as after a power cut.
func (d *Disk) Mount(dir, options string) error {
	return run("mount", "-t", "ext4", "-o", "loop,"+options, d.Path(), dir)
}

// Unmount unmounts it. Nobody may have a file open there.
func Unmount(dir string) error { return run("umount", dir) }

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}
