package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/semanode/sema/client"
)

// With the variables of OpenTelemetry a node sends spans of what its clients trace.
func TestServeSendsSpans(t *testing.T) {
	t.Parallel()
	came := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case came <- r.URL.Path:
		default:
		}
	}))
	defer collector.Close()
	raftAddr, grpcAddr := freeAddr(), freeAddr()
	p := startEnv(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_BSP_SCHEDULE_DELAY=50"},
		"serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", raftAddr, "--grpc-addr", grpcAddr, "--peers", "n1="+raftAddr)
	p.says("is ready")
	provider := sdktrace.NewTracerProvider() // samples, and sends nothing itself
	c, err := client.New(client.Config{Endpoints: []string{grpcAddr}, TracerProvider: provider})
	must(t, err)
	defer c.Close()
	_, err = c.Acquire(within(t), "a", "owner", time.Minute)
	must(t, err)
	select {
	case got := <-came:
		if got != "/v1/traces" {
			t.Errorf("spans were sent to %s", got)
		}
	case <-within(t).Done():
		t.Error("no span came")
	}
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("it ended with %d", r.code)
	}
}

// A collector that refuses the spans is in the node's log, in its form, and does not fill it.
func TestServeTellsThatTracingFails(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer collector.Close()
	raftAddr, grpcAddr := freeAddr(), freeAddr()
	p := startEnv(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_BSP_SCHEDULE_DELAY=20"},
		"serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", raftAddr, "--grpc-addr", grpcAddr, "--peers", "n1="+raftAddr, "--log-format", "json")
	p.says("is ready")
	c, err := client.New(client.Config{Endpoints: []string{grpcAddr}, TracerProvider: sdktrace.NewTracerProvider()})
	must(t, err)
	defer c.Close()
	for asked.Load() < 5 {
		_, err := c.Acquire(within(t), "a", "owner", time.Minute)
		must(t, err)
	}
	p.complains("tracing fails")
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("it ended with %d", r.code)
	}
	told := 0
	for line := range strings.Lines(p.stderr.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("not a line of the log: %q", line)
		}
		if entry["@message"] == "tracing fails" {
			told++
			contains(t, line, "403")
		}
	}
	if told < 1 || told > 2 {
		t.Errorf("it was told %d times, the collector asked %d times", told, asked.Load())
	}
}
