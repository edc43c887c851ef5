package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// An attempt waits only for who is absent, until that answers, the node ends, or a minute is over.
func TestAbsences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		failed int
		then   func(a *absences)
		want   time.Duration
	}{
		{"nothing has failed", 0, nil, 0},
		{"a few attempts have failed", absentAfter - 1, nil, 0},
		{"it is absent", absentAfter, nil, absenceWait},
		{"it answers", absentAfter, func(a *absences) { a.answered("n2") }, time.Second},
		{"another answers", absentAfter, func(a *absences) { a.answered("n3") }, absenceWait},
		{"the node ends", absentAfter, func(a *absences) { close(a.ended) }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAbsences()
				for range c.failed {
					a.failed("n2")
				}
				if c.then != nil {
					time.AfterFunc(time.Second, func() { c.then(a) })
				}
				began := time.Now()
				a.wait("n2")
				if got := time.Since(began); got != c.want {
					t.Errorf("waited %v, want %v", got, c.want)
				}
				a.answered("n2")
				began = time.Now()
				if a.wait("n2"); time.Since(began) > 0 {
					t.Error("waited for one that has answered")
				}
				synctest.Wait()
			})
		})
	}
}
