// Package crashdisk is a disk for tests that loses what a power cut loses. It is a file
// that the kernel reads and writes through FUSE; with a file system on it, over a loop
// device, real processes keep their files there. Like a disk with a cache of its own it
// keeps what was flushed, and of what was written since the last flush it keeps, at a
// cut, any part: each sector of 512 bytes is new or is old. Ext4's own journal and
// barriers decide what that means for files.
//
// The processes do not notice: a cut is an image of the disk as it would be, and they
// run on until they are killed.
package crashdisk
