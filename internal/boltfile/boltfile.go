// Package boltfile checks a bbolt file before bbolt opens it for writing. bbolt then
// walks through all pages in a goroutine of its own, where what cannot be is the end of
// the process; and it passes over a meta page that is damaged in favour of the other,
// with the transaction before the last.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The layout of a bbolt file, in the byte order of the machine.
const (
	headerLen = 16 // page id, flags, count, overflow
	metaLen   = 64 // magic, version, page size, flags, root, sequence, freelist, high water mark, transaction, checksum
	magic     = 0xED0CDAED
	version   = 2

	branchFlag, leafFlag, metaFlag, freelistFlag = 0x01, 0x02, 0x04, 0x10

	elementLen = 16 // of a leaf: flags, position, key size, value size; of a branch: position, key size, page id
	bucketFlag = 0x01
	bucketLen  = 16 // root, sequence
	noFreelist = ^uint64(0)
	maxDepth   = 64
)

var order = binary.NativeEndian

type file struct {
	io.ReaderAt
	size     int64
	pageSize int64
	limit    uint64 // page ids are below
	seen     map[uint64]bool
}

// Check reads all pages that are in use. Nobody may write to the file meanwhile. It
// does not look at what is in keys and values, which have no checksum.
func Check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(f, info.Size())
	}
	return errors.Join(err, f.Close())
}

func check(r io.ReaderAt, size int64) error {
	f := &file{ReaderAt: r, size: size, seen: map[uint64]bool{0: true, 1: true}}
	first, err := f.meta(0, 0)
	if err != nil {
		return err
	}
	f.pageSize = int64(first.pageSize)
	second, err := f.meta(1, f.pageSize)
	if err != nil {
		return err
	}
	if second.pageSize != first.pageSize {
		return fmt.Errorf("its meta pages have two page sizes, %d and %d", first.pageSize, second.pageSize)
	}
	now := first
	if second.transaction > first.transaction {
		now = second
	}
	f.limit = now.limit
	if pages := uint64(size / f.pageSize); pages < f.limit {
		return fmt.Errorf("it was cut: it has %d pages and should have %d", pages, f.limit)
	}
	if now.freelist != noFreelist {
		if _, err := f.page(now.freelist, freelistFlag); err != nil {
			return err
		}
	}
	return f.walk(now.root, nil, nil, 0)
}

type meta struct {
	pageSize                           uint32
	root, freelist, limit, transaction uint64
}

// meta reads one of the two. Both are valid at all times: a disk writes the sector that
// it is in, in whole or not at all.
func (f *file) meta(id uint64, at int64) (meta, error) {
	var b [headerLen + metaLen]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return meta{}, fmt.Errorf("meta page %d: %w", id, err)
	}
	m := b[headerLen:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:56]) // never fails
	got := meta{order.Uint32(m[8:]), order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:]), order.Uint64(m[48:])}
	if order.Uint32(m) != magic || order.Uint32(m[4:]) != version || order.Uint64(m[56:]) != sum.Sum64() ||
		order.Uint64(b[:]) != id || order.Uint16(b[8:]) != metaFlag {
		return got, fmt.Errorf("meta page %d is damaged: what was written last may be lost", id)
	}
	if got.pageSize < 512 || got.pageSize&(got.pageSize-1) != 0 {
		return got, fmt.Errorf("meta page %d has a page size of %d", id, got.pageSize)
	}
	return got, nil
}

// page reads a page, with what overflows from it, that must be of one of these kinds
// and must not be in use elsewhere.
func (f *file) page(id uint64, kinds uint16) ([]byte, error) {
	if id >= f.limit {
		return nil, fmt.Errorf("page %d is beyond its end", id)
	}
	var head [headerLen]byte
	if _, err := f.ReadAt(head[:], int64(id)*f.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	flags, overflow := order.Uint16(head[8:]), uint64(order.Uint32(head[12:]))
	if order.Uint64(head[:]) != id || flags&kinds == 0 || flags&(flags-1) != 0 || id+overflow >= f.limit {
		return nil, fmt.Errorf("page %d says that it is page %d with flags %x and %d more", id, order.Uint64(head[:]), flags, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if f.seen[i] {
			return nil, fmt.Errorf("page %d is in use twice", i)
		}
		f.seen[i] = true
	}
	data := make([]byte, int64(overflow+1)*f.pageSize)
	if _, err := f.ReadAt(data, int64(id)*f.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return data, nil
}

// walk goes through a tree whose keys are from one on and below another.
func (f *file) walk(id uint64, from, below []byte, depth int) error {
	data, err := f.page(id, branchFlag|leafFlag)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("page %d is too deep", id)
	}
	if err := f.elements(data, from, below, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements goes through what is on a page, which may be one within another page.
func (f *file) elements(data, from, below []byte, depth int) error {
	count, branch := int(order.Uint16(data[10:])), order.Uint16(data[8:]) == branchFlag
	if branch && count == 0 || headerLen+count*elementLen > len(data) {
		return fmt.Errorf("it has %d elements", count)
	}
	keys, values := make([][]byte, count), make([][]byte, count)
	for i := range count {
		at := headerLen + i*elementLen
		e := data[at:]
		position, keySize, valueSize := order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		if branch {
			position, keySize, valueSize = order.Uint32(e), order.Uint32(e[4:]), 0
		}
		begin := uint64(at) + uint64(position)
		if begin+uint64(keySize)+uint64(valueSize) > uint64(len(data)) || begin < uint64(headerLen+count*elementLen) {
			return fmt.Errorf("element %d is not on it", i)
		}
		keys[i] = data[begin : begin+uint64(keySize)]
		values[i] = data[begin+uint64(keySize):][:valueSize]
		outOfOrder := i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || from != nil && bytes.Compare(keys[i], from) < 0 ||
			below != nil && bytes.Compare(keys[i], below) >= 0
		if outOfOrder {
			return fmt.Errorf("element %d is out of order", i)
		}
	}
	for i := range count {
		if err := f.child(data, keys, values, i, below, depth); err != nil {
			return err
		}
	}
	return nil
}

// child goes on below an element: to the page of a branch, or into a bucket.
func (f *file) child(data []byte, keys, values [][]byte, i int, below []byte, depth int) error {
	e := data[headerLen+i*elementLen:]
	if order.Uint16(data[8:]) == branchFlag {
		if i+1 < len(keys) {
			below = keys[i+1]
		}
		return f.walk(order.Uint64(e[8:]), keys[i], below, depth+1)
	}
	if order.Uint32(e)&bucketFlag == 0 {
		return nil
	}
	bucket := values[i]
	if len(bucket) < bucketLen {
		return fmt.Errorf("bucket %q has %d bytes", keys[i], len(bucket))
	}
	if root := order.Uint64(bucket); root != 0 {
		return f.walk(root, nil, nil, depth+1)
	}
	if len(bucket) < bucketLen+headerLen || order.Uint16(bucket[bucketLen+8:]) != leafFlag { // it is on this page
		return fmt.Errorf("bucket %q is not one", keys[i])
	}
	return f.elements(bucket[bucketLen:], nil, nil, depth+1)
}
