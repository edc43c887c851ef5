package disklog

import (
	"errors"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// repair finishes what a power cut or a kill has interrupted: an append that was torn
// is overwritten with zeros, and where the segment is full the next one is begun. It
// refuses what Check refuses of the last segment.
func (t *table) repair(limit uint32, log hclog.Logger) error {
	if len(t.have.Segments) == 0 {
		return nil // it was not even begun
	}
	tail := t.have.Segments[len(t.have.Segments)-1]
	s, err := readSegment(t.dir, tail)
	if err != nil {
		return err
	}
	torn, err := s.torn()
	if err != nil {
		return err
	}
	if torn {
		log.Info("an append was interrupted before it was acknowledged: it is removed", "segment", s.path, "from", s.end, "bytes", s.remains()-s.end)
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.index > 0 {
		return t.CommitState(next(t.have, s, limit))
	}
	return nil
}

// settle makes certain what is there. What lies behind the last whole append is
// overwritten with zeros, so that it is never taken for a part of the log. That append
// itself is written once more and synced: it may come from a process that was killed, or
// failed, before it had synced it, and so be in the memory of the machine only.
func (s *scan) settle() error {
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = writeZeros(f, int64(s.end), int64(s.remains()))
	if err == nil {
		_, err = f.WriteAt(s.data[s.begin:s.end], int64(s.begin))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// next is the table in which the last segment is full and another follows: what
// raft-wal would have written if it had come to it.
func next(have contents, full *scan, limit uint32) types.PersistentState {
	now := time.Now()
	segments := append([]types.SegmentInfo(nil), have.Segments...)
	tail := &segments[len(segments)-1]
	tail.SealTime, tail.MaxIndex, tail.IndexStart = now, full.last(), full.index
	return types.PersistentState{NextSegmentID: have.NextSegmentID + 1, Segments: append(segments, types.SegmentInfo{
		ID: have.NextSegmentID, BaseIndex: full.last() + 1, MinIndex: full.last() + 1, Codec: codecID, CreateTime: now, SizeLimit: limit,
	})}
}

// removeStrangers removes segments that the table does not list: what was removed
// from the log, or was made and never used.
func (t *table) removeStrangers() error {
	names, err := files{}.ListDir(t.dir)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, info := range t.have.Segments {
		listed[segment.FileName(info)] = true
	}
	var errs []error
	for _, name := range names {
		if !listed[name] {
			errs = append(errs, files{}.Delete(t.dir, name))
		}
	}
	return errors.Join(errs...)
}
