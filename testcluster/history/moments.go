package history

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// moments gives the beginnings and ends of a semaphore's ops places on one line, in the
// order in which they happened. Where that is not known (no numbers, and the same
// time) beginnings come first, so that ops which touch count as concurrent.
type moments struct {
	times []time.Duration // of place 1, 3, 5, ...
	ops   []span
}

// span is an op with its places: from is odd, and so is to unless it is never.
type span struct {
	*Op
	from, to int
}

// never is the place after all places.
const never = math.MaxInt

func newMoments(ops []*Op) *moments {
	type moment struct {
		at  time.Duration
		seq uint64
		end bool
		op  int
	}
	all := make([]moment, 0, 2*len(ops))
	numbered := true
	for i, op := range ops {
		numbered = numbered && op.StartSeq != 0
		all = append(all, moment{op.Start, op.StartSeq, false, i})
		if op.over() {
			numbered = numbered && op.EndSeq != 0
			all = append(all, moment{op.End, op.EndSeq, true, i})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int {
		switch {
		case numbered:
			return cmp.Compare(a.seq, b.seq)
		case a.at == b.at && a.end != b.end:
			if b.end {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	m := &moments{times: make([]time.Duration, len(all)), ops: make([]span, len(ops))}
	for i, op := range ops {
		m.ops[i] = span{op, 0, never}
	}
	for i, moment := range all {
		m.times[i] = moment.at
		if moment.end {
			m.ops[moment.op].to = 2*i + 1
		} else {
			m.ops[moment.op].from = 2*i + 1
		}
	}
	return m
}

// from is the place of a time: before everything that happened then or later.
func (m *moments) from(at time.Duration) int {
	return 2 * sort.Search(len(m.times), func(i int) bool { return m.times[i] >= at })
}
