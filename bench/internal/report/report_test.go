package report_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/report"
	"github.com/semanode/sema/internal/load"
)

func run(mode load.Mode, workers int, column, setup string, round int, rate float64) report.Run {
	return report.Run{Column: column, Setup: setup, Round: round,
		Result: load.Result{Mode: mode, Workers: workers, CyclesPerSecond: rate, P50Ms: 1000 / rate, P99Ms: 5000 / rate, MaxMs: 9000 / rate, Cycles: int64(rate)}}
}

// data is two rounds of Sema, and a peer that was set up in two ways of which the
// second is the better one at 64 workers.
func data() report.Data {
	poll := run(load.Poll, 64, "Sema", "one", 1, 50_000)
	poll.Entries, poll.EntriesUnits = 2, 200_000
	handoff := run(load.Handoff, 64, "Sema", "one", 1, 1000)
	handoff.Passed = 1
	return report.Data{
		Day:     "2031-01-02",
		Machine: host.Facts{CPU: "Abacus", Cores: 2, MemoryGB: 4, Kernel: "Linux 7", FileSystem: "ext4", Go: "go1.99"},
		Before:  host.Sync{P50: 130 * time.Microsecond, P99: time.Millisecond},
		Settings: report.Settings{Duration: 5 * time.Second, Warmup: time.Second, Rounds: 2, Workers: []int{1, 64},
			Waiters: 64},
		Peers: []report.About{{Name: "Sema", Version: "v9", Settings: "default"}},
		Runs: []report.Run{
			run(load.Cycle, 1, "Sema", "one", 2, 300), run(load.Cycle, 1, "Sema", "one", 1, 400), // rounds in any order
			run(load.Cycle, 1, "etcd", "plain", 1, 200), run(load.Cycle, 1, "etcd", "plain", 2, 100),
			run(load.Cycle, 64, "Sema", "one", 1, 12_000), run(load.Cycle, 64, "Sema", "one", 2, 10_000),
			run(load.Cycle, 64, "etcd", "plain", 1, 3000), run(load.Cycle, 64, "etcd", "plain", 2, 3000),
			run(load.Cycle, 64, "etcd", "tuned", 1, 4000), run(load.Cycle, 64, "etcd", "tuned", 2, 4000),
			handoff, run(load.Handoff, 64, "etcd", "plain", 1, 250), poll,
		},
		Outages: []report.Outage{
			{Column: "Sema", Kind: report.Kill, Seconds: []float64{1.2, 0.9, 1}}, {Column: "Sema", Kind: report.Stop, Seconds: []float64{0.02}},
			{Column: "etcd", Kind: report.Kill, Seconds: []float64{2}},
		},
	}
}

func wantLine(t *testing.T, text, line string) {
	t.Helper()
	for got := range strings.Lines(text) {
		if strings.TrimSpace(got) == line {
			return
		}
	}
	t.Errorf("want the line\n%s\nin\n%s", line, text)
}

func TestTables(t *testing.T) {
	d := data()
	tests := []struct{ text, line string }{
		{d.CycleRatios(), "| cycles/s: Sema against | 1 worker | 64 |"},
		{d.CycleRatios(), "| etcd | 2.50× (2.00 to 3.00) | 2.75× (2.50 to 3.00) |"}, // by round; of the better setup
		{d.Cycles(), "| Sema | 350 (300 to 400) | 11,000 (10,000 to 12,000) |"},
		{d.Cycles(), "| etcd | 150 (100 to 200) | 4,000 |"},
		{d.Latencies(), "| etcd | 7.50 / 37.5 | 0.250 / 1.25 |"},
		{d.OtherRatios(), "| etcd | 4.00× | – |"},
		{d.Handoff(), "| Sema | 1,000 | 100 | 1.00 / 5.00 / 9.00 |"},
		{d.Poll(), "| Sema | 50,000 | 0.0200 / 0.100 | 4.17× | 0.0100 (2.00 in 200,000) |"},
		{d.Failover(), "| Sema | 1.00 (0.900 to 1.20) | – | 0.0200 | – |"},
		{d.Failover(), "| etcd | 2.00 | 0.500× | – | – |"},
		{d.Setups(), "| etcd: tuned | – | 4,000 | – | – |"},
		{d.What(), "| Sema | v9 | default |"},
		{d.Where(), "| writing 4 kB and fdatasync, p50 / p99, before | 0.130 / 1.00 ms |"},
	}
	for _, tt := range tests {
		wantLine(t, tt.text, tt.line)
	}
}

// What was not measured leaves no hole that looks like a zero.
func TestNothingMeasured(t *testing.T) {
	d := report.Data{Settings: report.Settings{Workers: []int{1}, Waiters: 64}}
	for _, text := range []string{d.CycleRatios(), d.OtherRatios(), d.Cycles(), d.Latencies(), d.Handoff(), d.Poll(), d.Failover(), d.Setups()} {
		if text != "Not measured.\n" {
			t.Errorf("got %q", text)
		}
	}
}

func TestWarnings(t *testing.T) {
	d := data()
	if got := d.Warnings(); got != "" {
		t.Errorf("all is well, and it says %q", got)
	}
	d.Machine.FileSystem = "tmpfs"
	d.Absent = []string{"redis-server: not installed"}
	d.Failures = []string{"poll of etcd: it\nended"}
	d.Runs[0].Errors, d.Runs[0].ErrorTexts = 7, []string{"too late"}
	for _, line := range []string{
		"- The data was in memory (tmpfs): no write had to last, and the figures mean nothing.",
		"- Left out: redis-server: not installed.",
		"- Failed: poll of etcd: it ended",
		"- cycle, 1 workers, Sema (one), round 2: 7 of 307 failed: too late",
	} {
		wantLine(t, d.Warnings(), line)
	}
}

func TestDocument(t *testing.T) {
	text, err := data().Document("# {{.Base}} of {{.Day}}\n{{.Cycles}}", "figures")
	if err != nil {
		t.Fatal(err)
	}
	wantLine(t, string(text), "# figures of 2031-01-02")
	wantLine(t, string(text), "| etcd | 150 (100 to 200) | 4,000 |")
	if _, err := data().Document("{{.Nonsense}}", ""); err == nil {
		t.Error("a figure that does not exist was left out in silence")
	}
}

func TestJSONComesBack(t *testing.T) {
	d := data()
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	back, err := report.Decode(text)
	if err != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("%v\n%+v\n%+v", err, back, d)
	}
	if _, err := report.Decode([]byte("{")); err == nil {
		t.Error("half a file was read")
	}
}

func TestCharts(t *testing.T) {
	for name, want := range map[string]string{"cycles": "Cycles per second", "p50": "Median time of a cycle"} {
		svg := data().Charts()[name].SVG()
		for _, text := range []string{want, ">Sema<", ">etcd<", ">64<"} {
			if !bytes.Contains(svg, []byte(text)) {
				t.Errorf("%s: %q is not in\n%s", name, text, svg)
			}
		}
	}
}
