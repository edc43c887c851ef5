package history_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

func TestEnough(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), unknown(released("x", 2, 3, 1)), nobody("y", 4, 5))
	expect(t, history.Enough(h, history.Limits{MinOps: 1}))
	expect(t, history.Enough(h, history.Limits{MinOps: 2}), "enough")
	expect(t, history.Enough(told(), history.Limits{}))
}

// verdictTest is a history and whether a verdict finds the promise kept.
type verdictTest struct {
	history.History
	kept bool
}

func runVerdict(t *testing.T, name string, verdict func(history.History, history.Limits) history.Report, tests map[string]verdictTest) {
	for story, test := range tests {
		t.Run(story, func(t *testing.T) {
			if r := verdict(test.History, history.Limits{}); test.kept {
				expect(t, r)
			} else {
				expect(t, r, name)
			}
		})
	}
}

func TestGenuine(t *testing.T) {
	verdict := func(h history.History, l history.Limits) history.Report { return history.Genuine(h, nil, l) }
	runVerdict(t, "genuine", verdict, map[string]verdictTest{
		"shown to another":                           {told(acquired("x", 0, 1, 1), refused("y", 2, 3, 1)), true},
		"shown before its own answer":                {told(unknown(acquired("x", 0, 9, 1)), of(1, refused("y", 2, 3, 1))), true},
		"shown in the instant in which it asked":     {told(unknown(acquired("x", 3, 9, 1)), of(1, refused("y", 2, 3, 1))), true},
		"shown before it asked":                      {told(unknown(acquired("x", 4, 9, 1)), of(1, refused("y", 2, 3, 1))), false},
		"stale, and long gone":                       {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), stale("y", 20, 21, 1)), true},
		"stale, and never there":                     {told(acquired("x", 0, 1, 1), of(7, stale("y", 20, 21, 1))), false},
		"held by nobody who asked":                   {told(of(7, found("y", 2, 3, 1))), false},
		"of another semaphore":                       {told(on("b", acquired("x", 0, 1, 1)), of(1, found("y", 2, 3, 1))), false},
		"an answer about another semaphore":          {told(acquired("x", 0, 1, 1), misnamed()), false},
		"given somebody else's hold":                 {told(acquired("x", 0, 1, 1), of(1, acquired("y", 2, 3, 1))), false},
		"an answer that was lost shows nothing":      {told(acquired("x", 0, 1, 1), unknown(of(7, found("y", 2, 3, 1)))), true},
		"an ended hold described by who ended it":    {told(acquired("x", 0, 1, 1), forced("y", 11, 12, 1)), true},
		"a hold that failed, described by its error": {told(acquired("x", 0, 1, 1), heldBy(1, 1)), true},
	})
}

// misnamed is an answer about another name than was asked for.
func misnamed() history.Op {
	op := of(1, found("y", 4, 5, 1))
	op.Info.Name = "z"
	return op
}

// heldBy is an attempt to lock that failed with a HeldError about a hold.
func heldBy(n int, token uint64) history.Op {
	op := of(n, refused("y", 2, 3, token))
	op.Outcome, op.Class = history.Failed, history.HeldByOther
	return op
}

func TestTokensRise(t *testing.T) {
	runVerdict(t, "tokens rise", history.TokensRise, map[string]verdictTest{
		"one after the other":                {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2)), true},
		"falling":                            {told(acquired("x", 0, 1, 2), acquired("y", 2, 3, 1)), false},
		"falling on another name":            {told(acquired("x", 0, 1, 2), on("b", acquired("y", 2, 3, 1))), false},
		"falling, and they overlap":          {told(acquired("x", 0, 2, 2), acquired("y", 1, 3, 1)), true},
		"falling in one instant":             {told(acquired("x", 0, 1, 2), acquired("y", 1, 3, 1)), true},
		"falling in one instant, in order":   {history.History{Ops: numbered(told(acquired("x", 0, 1, 2), acquired("y", 1, 3, 1)).Ops...)}, false},
		"a wait that began long ago":         {told(waited("y", 0, 9, 1), on("b", acquired("x", 2, 3, 2))), true},
		"below one that was only seen":       {told(unknown(acquired("x", 0, 1, 0)), of(1, refused("z", 2, 3, 5)), on("b", acquired("y", 4, 5, 4))), false},
		"one token twice":                    {told(acquired("x", 0, 3, 1), acquired("y", 0, 3, 1)), false},
		"one token on two names":             {told(acquired("x", 0, 3, 1), on("b", acquired("y", 0, 3, 1))), false},
		"one token with two owners":          {told(acquired("x", 0, 3, 1), of(3, found("y", 4, 5, 1)), unknown(acquired("z", 0, 3, 0))), false},
		"below one that came and went since": {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 3), acquired("z", 4, 5, 2)), false},
	})
}

func TestExclusion(t *testing.T) {
	runVerdict(t, "exclusion", history.Exclusion, map[string]verdictTest{
		"one after the other":                       {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 2, 3, 2)), true},
		"both at once":                              {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2)), false},
		"both at once, on two names":                {told(acquired("x", 0, 1, 1), on("b", acquired("y", 2, 3, 2))), true},
		"until the last moment":                     {told(acquired("x", 0, 1, 1), acquired("y", 2, 9.89, 2)), true},
		"a moment before the last":                  {told(acquired("x", 0, 1, 1), acquired("y", 2, 9.88, 2)), false},
		"longer by a touch":                         {told(acquired("x", 0, 1, 1), touched("x", 5, 6, 1), acquired("y", 9, 10, 2)), false},
		"not longer by a touch of unknown outcome":  {told(acquired("x", 0, 1, 1), unknown(touched("x", 5, 6, 1)), acquired("y", 9, 10, 2)), true},
		"told by a touch that it is gone":           {told(acquired("x", 0, 1, 1), failing(touched("x", 5, 6, 1), history.NotHeld), acquired("y", 5, 6, 2)), true},
		"whatever it has is released":               {told(acquired("x", 0, 1, 1), released("x", 2, 3, 0), acquired("y", 2, 3, 2)), true},
		"a release of unknown outcome":              {told(acquired("x", 0, 1, 1), unknown(released("x", 2, 3, 1)), acquired("y", 2, 3, 2)), true},
		"ended by an administrator":                 {told(acquired("x", 0, 1, 1), used("z", 2, 3, 1), acquired("y", 2, 3, 2)), true},
		"an answer that came too late to believe":   {told(waited("x", 0, 20, 1), acquired("y", 15, 16, 2)), true},
		"a handle, and who comes after":             {with(told(acquired("x", 0, 1, 1), acquired("y", 20, 25, 2)), handle(1, "x", 1, 1, 25)), true},
		"a handle, and who comes too early":         {with(told(acquired("x", 0, 1, 1), acquired("y", 20, 25, 2)), handle(1, "x", 1, 1, 25.001)), false},
		"two handles":                               {with(told(acquired("x", 0, 1, 1), acquired("y", 20, 25, 2)), handle(1, "x", 1, 1, 40), handle(2, "y", 2, 30, 50)), false},
		"a handle of what an administrator ended":   {with(told(acquired("x", 0, 1, 1), used("z", 20, 21, 1), acquired("y", 20, 25, 2)), lostHandle(1, "x", 1, 1, 28, 30)), true},
		"a handle whose op nobody recorded":         {with(told(acquired("y", 20, 25, 2)), handle(9, "x", 1, 1, 26)), false},
		"three, and the first holds for all others": {with(told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2), acquired("z", 14, 15, 3)), handle(1, "x", 1, 1, 20)), false},
	})
}

func TestNothingLost(t *testing.T) {
	verdict := func(h history.History, l history.Limits) history.Report { return history.NothingLost(h, nil, l) }
	runVerdict(t, "nothing lost", verdict, map[string]verdictTest{
		"there":                                              {told(acquired("x", 0, 1, 1), found("y", 2, 3, 1), refused("y", 3, 4, 1), touched("x", 5, 6, 1)), true},
		"a touch finds it gone":                              {told(acquired("x", 0, 1, 1), failing(touched("x", 5, 6, 1), history.NotHeld)), false},
		"a touch finds it gone, in time":                     {told(acquired("x", 0, 1, 1), failing(touched("x", 5, 9.89, 1), history.NotHeld)), true},
		"after a touch it is good for longer":                {told(acquired("x", 0, 1, 1), touched("x", 5, 6, 1), failing(touched("x", 9, 10, 1), history.NotHeld)), false},
		"as the handle says":                                 {with(told(acquired("x", 0, 1, 1), nobody("y", 15, 16)), lostHandle(1, "x", 1, 1, 20, 20)), false},
		"somebody else has it":                               {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2)), false},
		"somebody else asked before it was given":            {told(acquired("x", 0, 3, 1), waited("y", 2, 9, 2)), true},
		"somebody else is shown":                             {told(acquired("x", 0, 1, 1), unknown(waited("y", 0, 1, 2)), of(2, found("z", 2, 3, 2))), false},
		"nobody is found":                                    {told(acquired("x", 0, 1, 1), nobody("z", 2, 3)), false},
		"nobody is found to be ended":                        {told(acquired("x", 0, 1, 1), failing(used("z", 2, 3, 1), history.NotFound)), true}, // it may have ended it at its first try
		"somebody else's is found to be gone":                {told(acquired("x", 0, 1, 2), failing(used("z", 2, 3, 1), history.NotFound)), false},
		"free in the meantime":                               {told(acquired("x", 0, 1, 1), meantime("z", 2, 3)), false},
		"ended as overdue":                                   {told(acquired("x", 0, 1, 1), forced("z", 2, 3, 1)), false},
		"ended as overdue while it is released":              {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), forced("z", 2, 3, 1)), false},
		"ended as overdue in time":                           {told(acquired("x", 0, 1, 1), forced("z", 9, 10, 1)), true},
		"released":                                           {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), nobody("z", 2, 3)), true},
		"the client gave up whatever it had":                 {told(acquired("x", 0, 1, 1), released("x", 2, 3, 0), nobody("z", 2, 3)), true},
		"another gave up whatever it had":                    {told(acquired("x", 0, 1, 1), released("y", 2, 3, 0), nobody("z", 2, 3)), false},
		"found gone, and then released":                      {told(acquired("x", 0, 1, 1), nobody("z", 2, 3), released("x", 4, 5, 1)), false},
		"released by force":                                  {told(acquired("x", 0, 1, 1), unknown(used("w", 2, 3, 1)), nobody("z", 4, 5)), true},
		"the handle was done with it":                        {with(told(acquired("x", 0, 1, 1), nobody("z", 4, 5)), handle(1, "x", 1, 1, 5)), true},
		"the handle was not done with it":                    {with(told(acquired("x", 0, 1, 1), nobody("z", 4, 5)), handle(1, "x", 1, 1, 5.1)), false},
		"never acknowledged":                                 {told(unknown(acquired("x", 0, 1, 1)), of(1, found("z", 2, 3, 1)), nobody("z", 4, 5)), true},
		"refused with who was before":                        {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), refused("z", 6, 7, 1)), false},
		"a stale answer":                                     {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), stale("z", 6, 7, 1)), true},
		"the handle lost it before its time":                 {with(told(acquired("x", 0, 1, 1)), lostHandle(1, "x", 1, 1, 5, 9)), false},
		"the handle lost it in its time":                     {with(told(acquired("x", 0, 1, 1)), lostHandle(1, "x", 1, 1, 9, 9)), true},
		"the handle lost it to an administrator":             {with(told(acquired("x", 0, 1, 1), pending(used("z", 4, 5, 1))), lostHandle(1, "x", 1, 1, 5, 9)), true},
		"lost before its time, and then unlocked at once":    {with(told(acquired("x", 0, 1, 1), released("x", 5, 6, 1)), lostHandle(1, "x", 1, 1, 5, 9)), false},
		"lost in the instant in which it was ended by force": {with(told(acquired("x", 0, 1, 1), used("z", 5, 6, 1)), lostHandle(1, "x", 1, 1, 5, 9)), true},
		"the handle winds down":                              {with(told(acquired("x", 0, 1, 1)), windingDown(lostHandle(1, "x", 1, 1, 5, 9), 4)), true},
	})
	// The memory of a leader within its lease may be of the past.
	h := told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), refused("z", 6, 7, 1))
	expect(t, history.NothingLost(h, nil, history.Limits{SpuriousRefusals: true}))
}

func windingDown(h history.Hold, s float64) history.Hold {
	h.WindDown = seconds(s)
	return h
}

func TestToldInTime(t *testing.T) {
	runVerdict(t, "told in time", history.ToldInTime, map[string]verdictTest{
		"at the deadline":                               {with(told(acquired("x", 0, 1, 1), acquired("y", 8, 9, 2)), lostHandle(1, "x", 1, 1, 9, 9)), true},
		"after the deadline":                            {with(told(acquired("x", 0, 1, 1)), lostHandle(1, "x", 1, 1, 9.001, 9)), false},
		"after the next one":                            {with(told(acquired("x", 0, 1, 1), acquired("y", 8, 8.999, 2)), lostHandle(1, "x", 1, 1, 9, 9)), false},
		"after the next one of another name":            {with(told(acquired("x", 0, 1, 1), on("b", acquired("y", 8, 8.5, 2))), lostHandle(1, "x", 1, 1, 9, 9)), true},
		"after one before":                              {with(told(acquired("y", 0, 0.5, 1), acquired("x", 0, 1, 2)), lostHandle(2, "x", 2, 1, 9, 9)), true},
		"after an administrator ended it":               {with(told(acquired("x", 0, 1, 1), used("z", 2, 3, 1), acquired("y", 4, 5, 2)), lostHandle(1, "x", 1, 1, 6, 9)), true},
		"after the next one, and then unlocked at once": {with(told(acquired("x", 0, 1, 1), acquired("y", 4, 5, 2), released("x", 6, 7, 1)), lostHandle(1, "x", 1, 1, 6, 9)), false},
		"an administrator came after":                   {with(told(acquired("x", 0, 1, 1), acquired("y", 4, 5, 2), used("z", 7, 8, 1)), lostHandle(1, "x", 1, 1, 6, 9)), false},
		"done with it":                                  {with(told(acquired("x", 0, 1, 1), acquired("y", 8, 9, 2)), handle(1, "x", 1, 1, 12)), true},
		"a deadline that nobody knows":                  {with(told(acquired("x", 0, 1, 1)), lostHandle(1, "x", 1, 1, 9, 0)), true},
		"lost before the client had it":                 {with(told(waited("x", 0, 20, 1), acquired("y", 15, 16, 2)), lostHandle(1, "x", 1, 20, 20, 9.89)), true},
	})
}

func TestFIFOWithoutJournal(t *testing.T) {
	verdict := func(h history.History, l history.Limits) history.Report { return history.FIFO(h, nil, l) }
	runVerdict(t, "first come, first served", verdict, map[string]verdictTest{
		"in order":                           {told(placed(waited("x", 0, 9, 1), 2, 1), waited("y", 3, 9, 2)), true},
		"out of order":                       {told(placed(waited("x", 0, 9, 2), 2, 1), waited("y", 3, 9, 1)), false},
		"out of order, and neither was told": {told(waited("x", 0, 9, 2), waited("y", 3, 9, 1)), true},
		"told when the other had begun":      {told(placed(waited("x", 0, 9, 2), 3, 1), waited("y", 3, 9, 1)), true},
		"on another name":                    {told(placed(waited("x", 0, 9, 2), 2, 1), on("b", waited("y", 3, 9, 1))), true},
		"one that did not wait":              {told(placed(waited("x", 0, 9, 2), 2, 1), acquired("y", 3, 9, 1)), true},
		"one that gave up":                   {told(placed(failing(waited("x", 0, 9, 2), history.Other), 2, 1), waited("y", 3, 9, 1)), true},
		"its place rose":                     {told(placed(placed(placed(waited("x", 0, 9, 2), 1, 2), 2, 1), 8, 3), waited("y", 3, 9, 1)), true},
		"its place fell":                     {told(placed(placed(waited("x", 0, 9, 2), 2, 3), 8, 1), waited("y", 3, 9, 1)), false},
		"many":                               {told(placed(waited("v", 0, 9, 4), 1, 1), placed(waited("w", 1.5, 9, 1), 2, 2), waited("x", 3, 9, 5), waited("y", 3, 9, 3)), false},
	})
}

func TestRecordingFlaws(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), unknown(acquired("y", 2, 3, 0)))
	h.Ops[1].Owner, h.Ops[1].ID = h.Ops[0].Owner, h.Ops[0].ID
	if r := history.Check(h, nil, history.Limits{}); r.OK() || len(r.Undecided) != 2 {
		t.Errorf("two calls of one owner and one number: %v", r)
	}
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err     error
		outcome history.Outcome
		class   history.Class
	}{
		{nil, history.OK, history.NoError},
		{fmt.Errorf("touch: %w", sema.ErrNotHeld), history.Failed, history.NotHeld},
		{sema.ErrLost, history.Failed, history.NotHeld},
		{sema.ErrNotFound, history.Failed, history.NotFound},
		{&sema.HeldError{}, history.Failed, history.HeldByOther},
		{sema.ErrNoLeader, history.Failed, history.Other},
		{&sema.OutcomeUnknownError{Cause: sema.ErrNotHeld}, history.Unknown, history.Other},
		{errors.Join(sema.ErrNotHeld, sema.ErrOutcomeUnknown), history.Unknown, history.Other},
	} {
		if outcome, class := history.Classify(test.err); outcome != test.outcome || class != test.class {
			t.Errorf("%v: %v, class %d", test.err, outcome, class)
		}
	}
}

func TestKindsAndOutcomesHaveNames(t *testing.T) {
	got := fmt.Sprint(history.Acquire, history.Wait, history.Touch, history.Release, history.Get, history.Stale, history.Force, history.Kind(0), history.Kind(99),
		history.Pending, history.OK, history.Failed, history.Unknown, history.Outcome(9), time.Second)
	want := "acquire wait touch release get stale get forced release Kind(0) Kind(99) pending ok failed outcome unknown Outcome(9) 1s"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
