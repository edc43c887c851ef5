package history

import (
	"fmt"
	"sync/atomic"

	"github.com/anishathalye/porcupine"
)

// state is the model's: the token of the hold that stands, or zero, and the
// highest that was granted.
type state struct{ held, highest uint64 }

// step is what happens to the state, or what an answer says of it.
type step struct {
	kind  stepKind
	token uint64
	after uint64 // stepGrant: the token that was granted before, or zero
}

type stepKind int

const (
	stepGrant stepKind = iota
	stepEnd
	stepHeld
	stepNotHeld
	stepFree
	stepExisted
)

// take carries out a step. It is false if the step cannot be taken.
func (s state) take(st step) (state, bool) {
	switch st.kind {
	case stepGrant:
		return state{st.token, st.token}, s.held == 0 && s.highest == st.after
	case stepEnd:
		return state{0, s.highest}, s.held == st.token
	case stepHeld:
		return s, s.held == st.token
	case stepNotHeld:
		return s, s.held != st.token
	case stepFree:
		return s, s.held == 0
	}
	return s, s.highest >= st.token
}

// String tells the state as a drawing shows it.
func (s state) String() string {
	if s.held == 0 {
		return fmt.Sprintf("free; highest token %d", s.highest)
	}
	return fmt.Sprintf("held with token %d", s.held)
}

// drawn is a step with the places between which it is taken, as a drawing shows it.
type drawn struct {
	from, to     int
	client, text string
	step
}

// budget bounds a search, by steps, because in a bubble of testing/synctest time stands still
// while it runs. Once it is spent no step can be taken, and the search ends.
type budget struct{ left atomic.Int64 }

// model is what porcupine is given to search with.
func model(first state, b *budget) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(s, input, _ any) (bool, any) {
			if b.left.Add(-1) < 0 {
				return false, s
			}
			next, ok := s.(state).take(input.(drawn).step)
			return ok, next
		},
		Hash:              func(s any) uint64 { return s.(state).held*31 + s.(state).highest },
		DescribeOperation: func(input, _ any) string { return input.(drawn).text },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
}
