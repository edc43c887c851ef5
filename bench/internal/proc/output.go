//go:build unix

package proc

import (
	"bytes"
	"strings"
	"sync"
)

// tailLines is how much of a process's output is kept: enough to see why it ended.
const tailLines = 30

// output reads what a process writes: it finds the line that says ready and keeps
// the last few.
type output struct {
	ready chan struct{} // closed once that line was seen

	mu      sync.Mutex
	want    string // of the line; empty once it was seen
	partial []byte
	lines   []string
}

func newOutput(want string) *output {
	o := &output{ready: make(chan struct{}), want: want}
	if want == "" {
		close(o.ready)
	}
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		line, rest, found := bytes.Cut(o.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		o.line(string(line))
		o.partial = rest
	}
}

func (o *output) line(text string) {
	if o.want != "" && strings.Contains(text, o.want) {
		o.want = ""
		close(o.ready)
	}
	o.lines = append(o.lines, text)
	if over := len(o.lines) - tailLines; over > 0 {
		o.lines = append(o.lines[:0], o.lines[over:]...)
	}
}

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(o.lines[:len(o.lines):len(o.lines)], string(o.partial)), "\n")
}
