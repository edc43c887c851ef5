package testcluster_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/semanode/sema/testcluster"
)

func TestTheSameSeedDrawsTheSameSchedule(t *testing.T) {
	draw := func(seed uint64) string {
		return testcluster.DrawSchedule(seed, time.Hour, 10*time.Second, testcluster.Faults()).String()
	}
	first, again := draw(1), draw(1)
	if first != again {
		t.Error("drawn twice, it differs")
	}
	if first == draw(2) {
		t.Error("two seeds drew the same")
	}
}

func byTime(a, b testcluster.Step) int { return cmp.Compare(a.At, b.At) }

// What is drawn can be carried out, and no fault comes again before all others.
func TestDrawnSchedules(t *testing.T) {
	roles := map[testcluster.Target]string{testcluster.OnNode: "leader follower node", testcluster.OnClient: "client", testcluster.OnCluster: "all"}
	rapid.Check(t, func(t *rapid.T) {
		faults := rapid.Permutation(testcluster.Faults()).Draw(t, "faults")
		faults = faults[:rapid.IntRange(1, len(faults)).Draw(t, "how many")]
		byName := map[string]testcluster.Fault{}
		for _, f := range faults {
			byName[f.Name] = f
		}
		length := time.Duration(rapid.Int64Range(int64(time.Minute), int64(time.Hour)).Draw(t, "length"))
		gap := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Minute)).Draw(t, "gap"))
		s := testcluster.DrawSchedule(rapid.Uint64().Draw(t, "seed"), length, gap, faults)

		if !slices.IsSortedFunc(s, byTime) {
			t.Error("it is not in order of time")
		}
		round := map[string]bool{}
		for i, step := range s {
			f, known := byName[step.Fault]
			if !known || step.At < 0 || step.At > length || step.For < f.MinFor || step.For > f.MaxFor {
				t.Errorf("step %v; the fault lasts from %v to %v", step, f.MinFor, f.MaxFor)
			}
			if !strings.Contains(roles[f.On], step.On) {
				t.Errorf("step %v should strike one of: %s", step, roles[f.On])
			}
			if i%len(faults) == 0 {
				clear(round)
			}
			if round[step.Fault] {
				t.Errorf("%s comes again before all others have come, at %v", step.Fault, step.At)
			}
			round[step.Fault] = true
		}
	})
}

func TestFaultsComeAsOftenAsAsked(t *testing.T) {
	s := testcluster.DrawSchedule(7, 100*time.Hour, time.Minute, testcluster.Faults())
	if n := len(s); n < 5500 || n > 6500 {
		t.Errorf("%d faults in 6000 minutes", n)
	}
	for _, c := range []struct {
		name   string
		gap    time.Duration
		faults []testcluster.Fault
		most   int
	}{
		{"no faults", time.Second, []testcluster.Fault{}, 0},
		{"no gap", 0, testcluster.Faults(), 1200},
		{"a negative gap", -time.Hour, testcluster.Faults(), 1200},
	} {
		if n := len(testcluster.DrawSchedule(1, time.Second, c.gap, c.faults)); n > c.most {
			t.Errorf("%s: %d steps", c.name, n)
		}
	}
}

func TestAScheduleIsReadAsItIsWritten(t *testing.T) {
	word := rapid.StringMatching(`[a-z][a-z0-9-]{0,9}`)
	length := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Min(0).Draw(t, "length")) })
	rapid.Check(t, func(t *rapid.T) {
		s := testcluster.Schedule(rapid.SliceOf(rapid.Custom(func(t *rapid.T) testcluster.Step {
			return testcluster.Step{At: length.Draw(t, "at"), On: word.Draw(t, "on"), Fault: word.Draw(t, "fault"), For: length.Draw(t, "for")}
		})).Draw(t, "schedule"))
		slices.SortStableFunc(s, byTime)
		again, err := testcluster.ParseSchedule(s.String())
		if err != nil || !slices.Equal(again, s) {
			t.Errorf("written:\n%sread:\n%serror %v", s, again, err)
		}
	})
}

func TestParseSchedule(t *testing.T) {
	const kill, heal = "12s leader kill 3s", "1s all power-cut-all 0s"
	for _, c := range []struct {
		name, text, want string
		err              []string
	}{
		{name: "nothing"},
		{name: "comments and empty lines", text: "# seed 7\n\n  \t\n" + kill + "\n#" + heal, want: kill + "\n"},
		{name: "out of order", text: kill + "\n" + heal, want: heal + "\n" + kill + "\n"},
		{name: "spaces and line ends of others", text: "  12s\tleader  kill 3s \r\n", want: kill + "\n"},
		{name: "too few words", text: "# one\n" + kill + "\n12s kill 3s", err: []string{`line 3, "12s kill 3s"`, `such as "12s leader kill 3s"`}},
		{name: "too many words", text: kill + " or so", err: []string{"line 1", "want AT MACHINE FAULT FOR"}},
		{name: "no time", text: "soon leader kill 3s", err: []string{"line 1", `"soon"`}},
		{name: "no length", text: "12s leader kill long", err: []string{"line 1", `"long"`}},
		{name: "no unit", text: "12 leader kill 3s", err: []string{"line 1", "missing unit"}},
		{name: "a time before the beginning", text: "-1s leader kill 3s", err: []string{"line 1", "negative"}},
		{name: "a negative length", text: "1s leader kill -3s", err: []string{"line 1", "negative"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := testcluster.ParseSchedule(c.text)
			if (err != nil) != (c.err != nil) || s.String() != c.want {
				t.Fatalf("read:\n%serror %v", s, err)
			}
			for _, part := range c.err {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q should have %q in it", err, part)
				}
			}
		})
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("12.5s leader kill 3s\n# comment\n1h2m3.4s c1 late-copies 0s")
	f.Add("1ns all power-cut-all 2562047h47m16.854775807s")
	f.Add(testcluster.DrawSchedule(1, time.Minute, time.Second, testcluster.Faults()).String())
	f.Fuzz(func(t *testing.T, text string) {
		s, err := testcluster.ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := testcluster.ParseSchedule(s.String())
		if err != nil || !slices.Equal(again, s) {
			t.Errorf("read:\n%sread again:\n%serror %v", s, again, err)
		}
	})
}
