package history_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semanode/sema/testcluster/history"
)

var update = flag.Bool("update", false, "write the golden files anew")

// broken is a history in which every promise is broken at least once.
func broken() (history.History, history.Journal) {
	h := told(
		acquired("worker-1", 0, 0.2, 1),
		placed(waited("worker-2", 1, 12, 3), 1.5, 1),
		waited("worker-3", 2, 11, 2),
		failing(touched("worker-1", 4, 4.1, 1), history.NotHeld),
		of(9, found("worker-4", 5, 5.1, 7)),
		unknown(released("worker-3", 14, 14.5, 2)),
		pending(released("worker-2", 13, 0, 3)),
		acquired("worker-5", 13.2, 13.4, 4),
	)
	h.Holds = []history.Hold{lostHandle(3, "worker-3", 2, 11, 14, 13.5)}
	return h, logged(logAcquire(1), logWait(3), logWait(2), logRelease(1), logRelease(2), logRelease(3), logAcquire(8))
}

func TestReport(t *testing.T) {
	h, j := broken()
	r := history.Check(h, j, history.Limits{MinOps: 100})
	expect(t, r, "enough", "genuine", "tokens rise", "exclusion", "nothing lost", "told in time", "first come, first served", "linearizable")
	golden(t, "broken.txt", r.String())
	h = told(acquired("worker-1", 0, 0.2, 1), released("worker-1", 1, 2, 1))
	golden(t, "kept.txt", history.Check(h, nil, history.Limits{}).String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report is not %s any more (go test -update writes it anew):\n%s", file, got)
	}
}

func TestDrawing(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), nobody("z", 6, 7))
	for i := range h.Ops {
		h.Ops[i].Name, h.Ops[i].Info.Name = "jobs/night ly", ""
	}
	dir := t.TempDir()
	r := history.Linearizable(h, nil, history.Limits{Drawings: dir})
	expect(t, r, "linearizable")
	want := filepath.Join(dir, "linearizable-jobs%2Fnight%20ly.html")
	if r.Violations[0].File != want || !strings.Contains(r.String(), "drawing: "+want) {
		t.Fatalf("drawn in %q, want %q", r.Violations[0].File, want)
	}
	drawing, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"z, call 4: get", "nobody holds it", "y, call 3: acquire", "token 2 ends", "held with token 2"} {
		if !strings.Contains(string(drawing), line) {
			t.Errorf("the drawing lacks %q", line)
		}
	}
}

// A long history is drawn only around what is wrong with it, and a name may be long.
func TestDrawingOfALongHistory(t *testing.T) {
	var ops []history.Op
	for i := range 400 {
		at, token := float64(i), uint64(i+1)
		ops = append(ops, acquired("x", at, at+0.1, token), found("y", at+0.2, at+0.3, token), released("x", at+0.5, at+0.6, token), nobody("y", at+0.7, at+0.8))
	}
	ops[4*200+3] = found("y", 200.7, 200.8, 150)
	name := strings.Repeat("long/", 100)
	h := told(ops...)
	for i := range h.Ops {
		h.Ops[i].Name, h.Ops[i].Info.Name = name, ""
	}
	r := history.Linearizable(h, nil, history.Limits{Drawings: t.TempDir()})
	expect(t, r, "linearizable")
	drawing, err := os.ReadFile(r.Violations[0].File)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(drawing), ", call "); n < 20 || n > 400 {
		t.Errorf("%d calls are drawn", n)
	}
	if !strings.Contains(string(drawing), "200.700s") {
		t.Error("what is wrong is not drawn")
	}
}

func TestDrawingThatCannotBeWritten(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), nobody("z", 2, 3))
	r := history.Linearizable(h, nil, history.Limits{Drawings: filepath.Join(t.TempDir(), "nowhere")})
	expect(t, r, "linearizable")
	if v := r.Violations[0]; v.File != "" || !strings.Contains(v.Text, "the drawing could not be made") {
		t.Errorf("%+v", v)
	}
}
