package cluster_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/pki/pkitest"
)

var update = flag.Bool("update", false, "write the tables of the documentation anew")

const (
	metricsDoc   = "../docs/metrics.md"
	alertsDoc    = "../docs/operations.md"
	alertsFile   = "../deploy/prometheus/alerts.yaml"
	dashboard    = "../deploy/grafana/sema.json"
	beginOfTable = "<!-- begin: made by go test ./cluster -run TestDocumentedMetrics -update -->\n"
	endOfTable   = "<!-- end -->"
)

// exported are the metrics of a cluster's leader, and of a follower.
func exported(t *testing.T) (leader, follower map[string]*dto.MetricFamily) {
	t.Helper()
	ca := pkitest.New(t)
	s := startScraped(t, 3, func(c *cluster.Config) {
		c.PeerTLS = func() *tls.Config { return ca.Config(nil) }
		c.TLS = ca.Config(nil)
	})
	eventually(t, "the leader has counted what is overdue", func() error {
		leader, follower = s.families(s.leader().ID()), s.families(s.follower().ID())
		if leader["sema_overdue_holds"] == nil || leader["sema_log_store_bytes"] == nil || follower["sema_log_store_bytes"] == nil {
			return errors.New("it has not")
		}
		return nil
	})
	return leader, follower
}

// The table of the metrics is what a node exports.
func TestDocumentedMetrics(t *testing.T) {
	t.Parallel()
	leader, follower := exported(t)
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(leader)) {
		f := leader[name]
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels[l.GetName()], l.GetValue()) {
					labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
				}
			}
		}
		var names []string
		for _, label := range slices.Sorted(maps.Keys(labels)) {
			switch values := slices.Sorted(slices.Values(labels[label])); label {
			case "method", "code", "version", "go":
				names = append(names, "`"+label+"`")
			default:
				names = append(names, "`"+label+"`: "+strings.Join(values, ", "))
			}
		}
		help := f.GetHelp()
		if follower[name] == nil {
			help += " **Leader only.**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), strings.Join(names, "; "), help)
	}
	data, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), beginOfTable)
	_, after, ended := strings.Cut(rest, endOfTable)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", metricsDoc)
	}
	want := before + beginOfTable + b.String() + endOfTable + after
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what a node exports: run go test ./cluster -run TestDocumentedMetrics -update", metricsDoc)
	}
	if err := os.WriteFile(metricsDoc, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

var metricName = regexp.MustCompile(`\b(sema|go|process)_[a-z0-9_]+`)

// unknown are the metrics in an expression that nobody exports.
func unknown(expr string, exports map[string]*dto.MetricFamily) (names []string) {
	for _, name := range metricName.FindAllString(expr, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if f := exports[strings.TrimSuffix(name, suffix)]; f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
				base = strings.TrimSuffix(name, suffix)
			}
		}
		if strings.HasPrefix(name, "sema_") && exports[base] == nil {
			names = append(names, name)
		}
	}
	return names
}

type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Every alert asks for what there is, says what it is about, and has its cause and cure
// where it points to. cmd/semanode tests when they are raised.
func TestAlerts(t *testing.T) {
	t.Parallel()
	leader, _ := exported(t)
	data, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string      `yaml:"name"`
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	read := yaml.NewDecoder(bytes.NewReader(data))
	read.KnownFields(true)
	if err := read.Decode(&file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(alertsDoc)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			if bad := unknown(r.Expr, leader); len(bad) > 0 || r.Expr == "" {
				t.Errorf("%s asks for %v, which nobody exports", r.Alert, bad)
			}
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s has no summary or no severity", r.Alert)
			}
			if want := "docs/operations.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
				t.Errorf("%s points to %q, want …%s", r.Alert, r.Annotations["runbook_url"], want)
			}
			_, section, found := strings.Cut(string(text), "\n### "+r.Alert+"\n")
			section, _, _ = strings.Cut(section, "\n### ")
			if !found || !strings.Contains(section, "**Cause.**") || !strings.Contains(section, "**Cure.**") {
				t.Errorf("%s has no section with cause and cure in %s", r.Alert, alertsDoc)
			}
		}
	}
	if n == 0 {
		t.Error("there are no alerts")
	}
}

// The dashboard is one, and shows what there is.
func TestDashboard(t *testing.T) {
	t.Parallel()
	leader, _ := exported(t)
	data, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	type panel struct {
		ID         int            `json:"id"`
		Type       string         `json:"type"`
		Title      string         `json:"title"`
		GridPos    map[string]int `json:"gridPos"`
		Datasource map[string]any `json:"datasource"`
		Targets    []struct {
			Expr  string `json:"expr"`
			RefID string `json:"refId"`
		} `json:"targets"`
	}
	var d struct {
		Title         string  `json:"title"`
		UID           string  `json:"uid"`
		SchemaVersion int     `json:"schemaVersion"`
		Panels        []panel `json:"panels"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 || len(d.Panels) == 0 {
		t.Errorf("a dashboard with title %q, uid %q, schema %d and %d panels", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos["w"] == 0 || p.GridPos["x"]+p.GridPos["w"] > 24 {
			t.Errorf("panel %d, %q: id twice, no title or no place", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource["type"] != "prometheus" {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if bad := unknown(target.Expr, leader); len(bad) > 0 || target.Expr == "" || target.RefID == "" {
				t.Errorf("panel %q asks for %v, which nobody exports", p.Title, bad)
			}
		}
	}
}
