package transport

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/internal/seldom"
)

// What strangers can make a node write to its log: so many lines at once, and one more
// each time that so much has passed.
const (
	refusalLines  = 20
	refusalsEvery = time.Second
)

// refusals logs who was turned away, one line each. A flood must not fill the disk, so
// what comes too often is counted instead, and the next line tells the number.
type refusals struct {
	log  hclog.Logger
	gate *seldom.Gate
}

func newRefusals(log hclog.Logger) *refusals {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &refusals{log: log, gate: seldom.NewGate(refusalsEvery, refusalLines)}
}

func (r *refusals) tell(message string, args ...any) {
	omitted, ok := r.gate.Pass()
	if !ok {
		return
	}
	if omitted > 0 {
		args = append(args, "linesLeftOut", omitted)
	}
	r.log.Warn(message, args...)
}
