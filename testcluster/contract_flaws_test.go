package testcluster_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster"
)

// flaw is what a Service does not keep of the contract.
type flaw string

// flaws are all that Services here can have, each with the check that is there to
// find it; others may find it too.
var flaws = []struct {
	flaw  flaw
	check string
}{
	{"an acquire is forgotten", "acquire/a free semaphore is acquired"},
	{"an acquire steals", "acquire/a held one is refused, with who, since when and until when"},
	{"nobody is told who holds", "acquire/a held one is refused, with who, since when and until when"},
	{"an owner enters again", "acquire/the same owner is somebody else the second time"},
	{"all names are one", "acquire/one semaphore is not another"},
	{"tokens start anew with each name", "acquire/tokens rise over names and holds"},
	{"tokens fall", "acquire/of many at once one wins, and all others are told who"},
	{"times are local", "acquire/a free semaphore is acquired"},

	{"a late hold is there for the taking", "overdue/whoever asks for it ends it, and has to ask again"},
	{"a late hold stands for good", "overdue/whoever asks for it ends it, and has to ask again"},
	{"holds end early", "overdue/whoever asks for it ends it, and has to ask again"},
	{"the forced are not named", "overdue/many who ask for it at once end it once"},
	{"who was forced stays in the way", "overdue/once ended, anybody may have it"},

	{"a touch shortens", "touch/it moves the deadline to a full timeout from now"},
	{"a touch is only said to have been", "touch/touched again and again it stands for many timeouts"},
	{"a touch is a new hold", "touch/it moves the deadline to a full timeout from now"},
	{"a touch takes what is free", "touch/nobody's hold is not held"},
	{"a touch never says no", "isolate/work is told that its hold was released"},
	{"a late touch comes too late", "touch/late, it saves an overdue hold that nobody has taken"},
	{"anybody touches", "touch/somebody else's hold is not held"},

	{"a release frees nothing", "release/it frees the semaphore"},
	{"a release frees anybody's", "release/of somebody else's hold is refused and changes nothing"},
	{"a release of nothing fails", "release/of a free one is no error"},
	{"a release of another's is no error", "release/who released once does not free the next holder's"},

	{"a get invents", "get/of what nobody holds is not found"},
	{"a get does not see what is late", "overdue/it stands until somebody asks for it"},
	{"a get calls everything one's own", "get/it tells the holder and everybody else"},

	{"names are whatever one likes", "limits/names beyond the edges"},
	{"names are short", "limits/names up to the edges"},
	{"owners are whatever one likes", "limits/owners beyond the edges"},
	{"owners are short", "limits/owners up to the edges"},
	{"timeouts are whatever one likes", "limits/timeouts beyond the edges"},
	{"timeouts are whole seconds", "limits/timeouts up to the edges"},
	{"nobody is told what is invalid", "limits/what is refused changes nothing of a hold"},
	{"contexts are of no concern", "context/ended before, a get gets nothing"},

	{"a wait is answered with nothing", "wait/a free semaphore is acquired at once"},
	{"who holds need not wait", "wait/nobody has anything after a wait for what is one's own"},
	{"who waits asks again and again", "wait/a release hands over to who is next, and nobody comes between"},
	{"who waits loses the place to who comes", "wait/first come, first served"},
	{"who waits is served before the deadline", "wait/an overdue hold goes to who is next, not before its deadline"},
	{"who left keeps the place", "wait/who leaves gives up the place"},
	{"who left has it all the same", "wait/who leaves while it is handed over has it or has it not"},
	{"nobody is told the place", "wait/who waits is told the place, and before whom"},
	{"nobody is told how many wait", "wait/everybody is told how many wait"},
	{"a fork is no other", "fork/it has holds of its own"},
	{"a fork can do less", "fork/it can do what it was forked from can"},
	{"a fork is elsewhere", "fork/many isolate work through one Service, one at a time"},
}

// Each flaw is found by the check that is there to find it, and each check finds some.
func TestContractFindsFlaws(t *testing.T) {
	t.Parallel()
	findings := map[string]int{} // by check
	for _, f := range flaws {
		var found map[string][]string
		t.Run(string(f.flaw), func(t *testing.T) {
			found = findFlaws(t, func() func() sema.Service {
				if slices.Contains(lineFlaws, f.flaw) {
					return flawedLines(f.flaw)
				}
				return newFake(f.flaw).newUser
			})
		})
		for check, faults := range found {
			findings[check] += len(faults)
		}
		if faults := found[f.check]; len(faults) > 0 {
			t.Logf("%s: %s", f.flaw, faults[0])
		} else {
			t.Errorf("%q is not found by %q; all that is found: %v", f.flaw, f.check, found)
		}
	}
	for _, check := range slices.Sorted(maps.Keys(findings)) {
		if findings[check] == 0 {
			t.Errorf("%q finds nothing, whatever is wrong", check)
		}
	}
	if len(findings) < 60 {
		t.Errorf("there were %d checks only", len(findings))
	}
}

// findFlaws runs the suite, each check in a bubble, and returns by the name of each
// check what it found.
func findFlaws(t *testing.T, open func() func() sema.Service) map[string][]string {
	root, found := t.Name()+"/", map[string][]string{}
	var mu sync.Mutex
	testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{TB: t}
			r.run(check, open())
			<-time.After(2 * straggling)
			mu.Lock()
			defer mu.Unlock()
			found[strings.ReplaceAll(strings.TrimPrefix(t.Name(), root), "_", " ")] = r.faults
		})
	})
	return found
}

// straggling bounds how long a Service may go on behind the back of its caller.
const straggling = time.Minute

// recorder writes down what a check finds, and fails no test.
type recorder struct {
	testing.TB // for its Context and the like

	mu     sync.Mutex
	faults []string
}

// run runs a check as if with a T of its own.
func (r *recorder) run(check testcluster.Check, open func() sema.Service) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r, open)
	}()
	<-done
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Error(args ...any)    { r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recorder) Skip(...any)          { runtime.Goexit() }
func (r *recorder) Skipf(string, ...any) { runtime.Goexit() }
func (r *recorder) Logf(string, ...any)  {}
func (r *recorder) Helper()              {}
