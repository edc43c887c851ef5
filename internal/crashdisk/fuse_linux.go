package crashdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Disk is a mounted one.
type Disk struct {
	media
	dir  string
	dev  *os.File
	done sync.WaitGroup // its server
	// generation is the number of the file that is the disk; each Load makes another,
	// so that the kernel's memory of the last one is of no use.
	generation uint64
}

// New makes a disk of this size, as a file in dir, which must be empty. It needs the
// rights of root and a kernel with FUSE.
func New(dir string, size int) (*Disk, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	d := &Disk{dir: dir, dev: os.NewFile(uintptr(fd), "/dev/fuse"), generation: rootNode}
	options := fmt.Sprintf("fd=%d,rootmode=40700,user_id=0,group_id=0", fd)
	if err := unix.Mount("crashdisk", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount of a fuse file system: %w", err), d.dev.Close())
	}
	d.Load(make([]byte, size))
	d.done.Go(d.serve)
	return d, nil
}

// Load puts an image on the disk. Nobody may have it open.
func (d *Disk) Load(image []byte) {
	d.load(image)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation++
}

// Path is the file that is the disk, until the next Load.
func (d *Disk) Path() string { return filepath.Join(d.dir, fmt.Sprint(d.number())) }

// number is the generation. What is written to another one is of no consequence: a file
// system that was unmounted here lives on in every mount namespace that was made in
// the meantime, and writes there until that has gone.
func (d *Disk) number() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// Lie makes the disk say that it has flushed what it has not.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = true
}

// Close unmounts the disk and waits for its server.
func (d *Disk) Close() error {
	err := unix.Unmount(d.dir, unix.MNT_DETACH)
	d.done.Wait() // the kernel hangs up when nobody has it open any more
	return errors.Join(err, d.dev.Close())
}

// What is used of the protocol between the kernel and a FUSE file system, as in the
// kernel's include/uapi/linux/fuse.h.
const (
	opLookup, opForget, opGetattr, opSetattr                       = 1, 2, 3, 4
	opOpen, opRead, opWrite, opStatfs, opRelease, opFsync, opFlush = 14, 15, 16, 17, 18, 20, 25
	opInit, opOpendir, opReleasedir, opInterrupt, opDestroy        = 26, 27, 29, 36, 38
	opBatchForget                                                  = 42

	rootNode  = 1
	inHeader  = 40
	outHeader = 16
	maxWrite  = 128 << 10
)

var le = binary.LittleEndian

// serve answers the kernel, one request at a time but for flushes, until the file
// system is gone.
func (d *Disk) serve() {
	buf := make([]byte, maxWrite+4096)
	for {
		n, err := unix.Read(int(d.dev.Fd()), buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT): // ENOENT: it was interrupted
			continue
		case err != nil || n < inHeader: // ENODEV: unmounted
			return
		}
		op, unique := le.Uint32(buf[4:]), le.Uint64(buf[8:])
		switch op {
		case opForget, opBatchForget, opInterrupt: // want no answer
		case opFsync:
			d.done.Go(func() {
				d.flush()
				d.reply(unique, nil, 0)
			})
		default:
			body, errno := d.answer(op, le.Uint64(buf[16:]), buf[inHeader:n])
			d.reply(unique, body, errno)
		}
	}
}

func (d *Disk) reply(unique uint64, body []byte, errno unix.Errno) {
	reply := make([]byte, outHeader, outHeader+len(body))
	le.PutUint32(reply, uint32(outHeader+len(body)))
	le.PutUint32(reply[4:], uint32(-int32(errno)))
	le.PutUint64(reply[8:], unique)
	_, _ = unix.Write(int(d.dev.Fd()), append(reply, body...)) // the request may have been interrupted
}

func (d *Disk) answer(op uint32, node uint64, in []byte) (out []byte, errno unix.Errno) {
	switch op {
	case opInit:
		out = make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[8:], le.Uint32(in[8:]))
		le.PutUint32(out[12:], 1<<5) // writes of more than a page
		le.PutUint16(out[16:], 16)
		le.PutUint16(out[18:], 12)
		le.PutUint32(out[20:], maxWrite)
		return out, 0
	case opLookup:
		var name uint64
		if _, err := fmt.Sscan(string(in[:len(in)-1]), &name); err != nil || name == rootNode {
			return nil, unix.ENOENT
		}
		out = make([]byte, 40)
		le.PutUint64(out, name)
		return append(out, d.attributes(name)...), 0
	case opGetattr, opSetattr:
		return append(make([]byte, 16), d.attributes(node)...), 0
	case opOpen, opOpendir:
		return make([]byte, 16), 0
	case opRead:
		return d.read(int64(le.Uint64(in[8:])), int(le.Uint32(in[16:]))), 0
	case opWrite:
		n := le.Uint32(in[16:])
		if node == d.number() {
			d.write(int64(le.Uint64(in[8:])), in[40:40+n])
		}
		return le.AppendUint32(make([]byte, 0, 8), n)[:8], 0
	case opFlush, opRelease, opReleasedir, opDestroy:
		return nil, 0
	case opStatfs:
		return make([]byte, 80), 0
	}
	return nil, unix.ENOSYS
}

// attributes is what stat says of a node: the directory, or the disk.
func (d *Disk) attributes(node uint64) []byte {
	out := make([]byte, 88)
	le.PutUint64(out, node)
	mode, size := uint32(unix.S_IFDIR|0o700), 0
	if node != rootNode {
		d.mu.Lock()
		mode, size = unix.S_IFREG|0o600, len(d.content)
		d.mu.Unlock()
	}
	le.PutUint64(out[8:], uint64(size))
	le.PutUint64(out[16:], uint64(size/Sector))
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1)
	le.PutUint32(out[80:], 4096)
	return out
}
