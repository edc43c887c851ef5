//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// requirePrometheus makes a machine without Prometheus fail instead of skip: for CI.
const requirePrometheus = "SEMA_REQUIRE_PROMETHEUS"

const (
	alertsFile    = "../../deploy/prometheus/alerts.yaml"
	alertsTests   = "../../deploy/prometheus/alerts_test.yaml"
	dashboardFile = "../../deploy/grafana/sema.json"
)

// fromPrometheus finds a program of Prometheus, or skips.
func fromPrometheus(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv(requirePrometheus) != "" {
			t.Fatal(err)
		}
		t.Skipf("%v (apt-get install prometheus)", err)
	}
	return path
}

// The alerts are rules, and are raised when they should be, and not before.
func TestPrometheusRules(t *testing.T) {
	t.Parallel()
	promtool := fromPrometheus(t, "promtool")
	for _, args := range [][]string{{"check", "rules", alertsFile}, {"test", "rules", alertsTests}} {
		if out, err := exec.CommandContext(within(t), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests, err := os.ReadFile(alertsTests)
	must(t, err)
	rules, err := os.ReadFile(alertsFile)
	must(t, err)
	for line := range strings.Lines(string(rules)) {
		name, found := strings.CutPrefix(strings.TrimSpace(line), "- alert: ")
		if !found {
			continue
		}
		if !strings.Contains(string(tests), "- alertname: "+name+"\n") || !strings.Contains(string(tests), "{alertname: "+name+",") {
			t.Errorf("%s has no test in %s that raises it, or none that does not", name, alertsTests)
		}
	}
}

// A real Prometheus that scrapes a real cluster has something to show in every panel of
// the dashboard, finds nothing to raise, and notices that a node dies.
func TestPrometheusWatchesACluster(t *testing.T) {
	t.Parallel()
	binary := fromPrometheus(t, "prometheus")
	c := newNodes(t, 3)
	for range c.processes {
		c.metrics = append(c.metrics, freeAddr())
	}
	c.startAll()
	p := startPrometheus(t, binary, c.metrics)
	cl := c.client()
	leader := c.leader(cl)
	work(t, cl)
	p.showsAll(t)
	p.raisesNothing(t)

	victim := (leader + 1) % len(c.processes)
	c.processes[victim].kill()
	want := alert{Name: "SemaNodeDown", Instance: c.metrics[victim], State: "pending"}
	eventually(t, "the death of a node is noticed", func() bool { return slices.Contains(p.alerts(t), want) })
}

// work asks for locks, without end and in every way that a panel shows.
func work(t *testing.T, cl *client.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	const workers = 3
	for i := range workers {
		s := cl.Fork().(sema.Waiter)
		go func() { done <- ignoreEnd(ctx, cycles(ctx, cl, s, "worker-"+strconv.Itoa(i))) }()
	}
	t.Cleanup(func() {
		cancel()
		for range workers {
			if err := <-done; err != nil {
				t.Errorf("at work: %v", err)
			}
		}
	})
}

// cycles takes its turn on a lock, and asks for a hold that there is not, until ctx ends.
func cycles(ctx context.Context, cl *client.Client, s sema.Waiter, owner string) error {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		if _, err := s.AcquireWait(ctx, "turn", owner, time.Minute, nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pace.C:
		}
		if err := s.Release(ctx, "turn"); err != nil {
			return err
		}
		if _, err := cl.TouchToken(ctx, "nobody has it", 1); !errors.Is(err, sema.ErrNotHeld) {
			return fmt.Errorf("a touch of nothing: %w", err)
		}
	}
}

// ignoreEnd is err, unless it came of the end of ctx.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// monitor is a running Prometheus.
type monitor struct{ addr string }

const scrapeConfig = `
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: [%q]
scrape_configs: [{job_name: sema, static_configs: [{targets: [%s]}]}]
`

// startPrometheus starts a Prometheus that scrapes nodes, and waits until it is ready. A
// shell ends it when its own standard input ends, as it does also if the tests are killed.
func startPrometheus(t *testing.T, binary string, nodes []string) *monitor {
	t.Helper()
	rules, err := filepath.Abs(alertsFile)
	must(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, scrapeConfig, rules, strings.Join(nodes, ", ")), 0o600))
	p := &monitor{addr: freeAddr()}
	var log output
	cmd := exec.Command("sh", "-c", `"$@" & pid=$!; read -r _; kill -9 $pid; wait $pid`, "sh", binary,
		"--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	cmd.Stdout, cmd.Stderr = &log, &log
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("prometheus:\n%s", log.String())
		}
	})
	eventually(t, "Prometheus is ready", func() bool {
		resp, err := http.Get("http://" + p.addr + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// ask reads data from the HTTP API.
func (p *monitor) ask(t *testing.T, path string, query url.Values, data any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+p.addr+"/api/v1/"+path+"?"+query.Encode(), nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w: %.200s", path, err, body)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// shows tells whether there is a number to show for a panel's query, as Grafana asks it
// for the last half minute.
func (p *monitor) shows(t *testing.T, expr string) (bool, error) {
	t.Helper()
	now := time.Now().Unix()
	var found struct {
		Result []struct{ Values [][2]any }
	}
	if err := p.ask(t, "query_range", url.Values{"query": {expr}, "step": {"1"},
		"start": {strconv.FormatInt(now-30, 10)}, "end": {strconv.FormatInt(now, 10)}}, &found); err != nil {
		return false, err
	}
	for _, series := range found.Result {
		for _, v := range series.Values {
			n, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			if err != nil {
				return false, err
			}
			if !math.IsNaN(n) {
				return true, nil
			}
		}
	}
	return false, nil
}

// showsAll checks every query of the dashboard, with its variables as Grafana fills them in.
func (p *monitor) showsAll(t *testing.T) {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	data, err := os.ReadFile(dashboardFile)
	must(t, err)
	must(t, json.Unmarshal(data, &d))
	// Subqueries, whose steps are scrapes, go as fast as these.
	fill := []string{"$__rate_interval", "5s", ":15s]", ":1s]"}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			fill = append(fill, "$"+v.Name, p.choice(t, v.Definition))
		}
	}
	queries := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			queries++
			expr := strings.NewReplacer(fill...).Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%q has a variable that nobody defines: %s", panel.Title, expr)
			}
			eventually(t, fmt.Sprintf("%q shows something: %s", panel.Title, expr), func() bool {
				ok, err := p.shows(t, expr)
				if err != nil {
					t.Fatalf("%q: %v: %s", panel.Title, err, expr)
				}
				return ok
			})
		}
	}
	if queries == 0 {
		t.Error("the dashboard asks for nothing")
	}
}

// choice is the one value of a variable that is defined by label_values(metric, label).
func (p *monitor) choice(t *testing.T, definition string) (value string) {
	t.Helper()
	inner, ok := strings.CutPrefix(definition, "label_values(")
	metric, label, two := strings.Cut(strings.TrimSuffix(inner, ")"), ", ")
	if !ok || !two {
		t.Fatalf("a variable that is defined as %q", definition)
	}
	eventually(t, definition+" has one value", func() bool {
		var values []string
		must(t, p.ask(t, "label/"+label+"/values", url.Values{"match[]": {metric}}, &values))
		if len(values) == 1 {
			value = values[0]
		}
		return len(values) == 1
	})
	return value
}

type alert struct{ Name, Instance, State string }

// alerts are those that are pending or firing.
func (p *monitor) alerts(t *testing.T) (all []alert) {
	t.Helper()
	var found struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	must(t, p.ask(t, "alerts", nil, &found))
	for _, a := range found.Alerts {
		all = append(all, alert{a.Labels["alertname"], a.Labels["instance"], a.State})
	}
	return all
}

// raisesNothing waits until all rules were looked at, and finds none of them true.
func (p *monitor) raisesNothing(t *testing.T) {
	t.Helper()
	began := time.Now()
	eventually(t, "all rules are looked at", func() bool {
		var found struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError string
					LastEvaluation          time.Time
				}
			}
		}
		must(t, p.ask(t, "rules", nil, &found))
		for _, g := range found.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health != "ok" || r.LastEvaluation.Before(began) {
					return false
				}
			}
		}
		return len(found.Groups) > 0
	})
	for _, a := range p.alerts(t) {
		if a.Name != "SemaDiskSlow" { // true of machines that are busy with other tests
			t.Errorf("a healthy cluster raises %+v", a)
		}
	}
}
