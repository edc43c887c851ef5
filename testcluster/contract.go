package testcluster

import (
	"sync/atomic"
	"testing"

	"github.com/semanode/sema"
)

// Check holds Services to one part of the contract. It calls open once for each
// user that it needs: every value that open returns remembers holds of its own, and
// all of them are about the same semaphores. It reports to tb, by FailNow too, and
// returns when all that it started has ended and what it held was released.
type Check func(tb testing.TB, open func() sema.Service)

// TestService holds an implementation of [sema.Service] to the contract: one of your
// own, or the fake of your unit tests, as those of this module. Each check is a
// subtest, and for each setup is called, which makes ready what is tested, calls
// check once and clears away:
//
//	func TestFake(t *testing.T) {
//		testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
//			fake := newFake()
//			check(t, fake.NewUser)
//		})
//	}
//
// Checks run in parallel, and so do setups. The names of their semaphores start with
// "contract/" and are new each time, except one of a single byte, so the semaphores
// may be others' as well and need not be new.
//
// Checks wait for deadlines to pass: some seconds in all. In a bubble of [synctest],
// which setup makes, that takes no time:
//
//	testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
//		synctest.Test(t, func(t *testing.T) { check(t, newFake().NewUser) })
//	})
//
// Services that can wait in line ([sema.Waiter]) or be forked ([sema.Forker]) are
// held to that too; for others those checks are skipped. That is found out by type,
// so a wrapper that hides a method hides it from the checks.
//
// Who calls check with a testing.TB that only writes down what fails learns what a
// Service does not keep, without failing a test.
//
// What is not checked, because no Service can be made to do it from outside: what
// becomes of lost answers, and of leaders. That an acquire is told
// [sema.ReleasedInTheMeanTime] is a race, which is run, and whose outcome is written
// to the test's log.
func TestService(t *testing.T, setup func(t *testing.T, check Check)) {
	t.Helper()
	for _, ch := range chapters {
		t.Run(ch.about, func(t *testing.T) { // ends when all its checks have
			for _, c := range ch.checks {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					var called atomic.Bool
					setup(t, func(tb testing.TB, open func() sema.Service) {
						called.Store(true)
						play(tb, open, c.story)
					})
					if !called.Load() && !t.Failed() && !t.Skipped() {
						t.Error("setup returned and had not called check")
					}
				})
			}
		})
	}
}

// chapter is a part of the contract.
type chapter struct {
	about  string
	checks []check
}

// check is a story that comes out as told if the contract is kept.
type check struct {
	name  string
	story func(*scene)
}

var chapters = []chapter{
	{"acquire", acquireChecks},
	{"overdue", overdueChecks},
	{"touch", touchChecks},
	{"release", releaseChecks},
	{"get", getChecks},
	{"limits", limitChecks},
	{"context", contextChecks},
	{"isolate", isolateChecks},
	{"wait", waitChecks},
	{"fork", forkChecks},
}
