package load

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxRecorders bounds the memory for histograms, 15 MB. With more workers than
	// that a recorder is shared, by workers that hardly ever come at the same time.
	maxRecorders = 64
	// maxTexts is how many different errors are told.
	maxTexts = 5
	// resolution and digits are those of the histogram.
	resolution = time.Microsecond
	digits     = 3
	// longest is what the histogram takes: longer than any unit of a run.
	longest = 2*MaxDuration + time.Hour
)

// recorder counts what some workers did.
type recorder struct {
	// For the progress: units from the first one on.
	allFinished, allFailed atomic.Int64

	mu         sync.Mutex // hardly ever waited for, see maxRecorders
	cycles     int64
	latencies  *hdrhistogram.Histogram
	max        time.Duration // exactly
	errors     int64
	texts      []string
	unfinished int64
	oldest     time.Duration // how long the oldest unfinished one had taken by the end
}

func newRecorder() *recorder {
	return &recorder{latencies: hdrhistogram.New(int64(resolution), int64(longest), digits)}
}

// finished counts a unit whose latency is from began to end, and that was over now.
func (r *recorder) finished(of *run, began, end, now time.Duration) {
	r.allFinished.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now >= of.from && now < of.end() {
		r.cycles++
	}
	if began < of.from || began >= of.end() {
		return
	}
	took := max(0, end-began)
	r.max = max(r.max, took)
	_ = r.latencies.RecordValue(int64(min(took, longest))) // fails beyond longest only
}

// failed counts an error, unless it belongs to the warm-up.
func (r *recorder) failed(of *run, now time.Duration, err error) {
	r.allFailed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now >= of.from {
		r.fault(err)
	}
}

// fault is called with mu held.
func (r *recorder) fault(err error) {
	r.errors++
	r.tell(err.Error())
}

func (r *recorder) tell(text string) {
	if len(r.texts) < maxTexts && !slices.Contains(r.texts, text) {
		r.texts = append(r.texts, text)
	}
}

// cutOff counts a unit that did not end within the patience. To wait in line is no
// failure, and neither is an end that somebody asked for.
func (r *recorder) cutOff(of *run, began, now time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if of.cfg.Mode == Handoff || of.interrupted.Load() {
		r.unfinished++
		r.oldest = max(r.oldest, now-began)
		return
	}
	r.fault(fmt.Errorf("not finished within %v after the end: %w", of.cfg.Patience, err))
}

// merge adds what another recorder counted. Nobody uses either of them meanwhile.
func (r *recorder) merge(from *recorder) {
	r.cycles += from.cycles
	r.latencies.Merge(from.latencies) // drops nothing: both have the same range
	r.max = max(r.max, from.max)
	r.errors += from.errors
	for _, text := range from.texts {
		r.tell(text)
	}
	r.unfinished += from.unfinished
	r.oldest = max(r.oldest, from.oldest)
}

// quantile of the latencies; the exact maximum bounds what the histogram rounds up.
func (r *recorder) quantile(percent float64) time.Duration {
	return min(time.Duration(r.latencies.ValueAtQuantile(percent)), cmp.Or(r.max, longest))
}
