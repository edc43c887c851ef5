package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fetch gets what a port for observers says.
func fetch(t *testing.T, url string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
	must(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(data)
}

// A node serves its metrics, its health and its profiles where it is told to, bears with
// those who misuse that, and stops all of it with itself.
func TestServeIsObserved(t *testing.T) {
	t.Parallel()
	metrics, profiles, raftAddr := freeAddr(), freeAddr(), freeAddr()
	p := start(t, "serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", raftAddr, "--grpc-addr", "127.0.0.1:0",
		"--peers", "n1="+raftAddr, "--metrics-addr", metrics, "--pprof-addr", profiles)
	p.says("is ready")
	for url, want := range map[string]string{
		metrics + "/metrics":                   "\nsema_has_leader 1\n",
		metrics + "/livez":                     "ok\n",
		metrics + "/readyz?verbose":            "[+] leader\n",
		profiles + "/debug/pprof/":             "goroutine",
		profiles + "/debug/pprof/heap?debug=1": "heap profile",
	} {
		code, body := fetch(t, "http://"+url)
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q: %.300s", url, code, want, body)
		}
	}
	_, body := fetch(t, "http://"+metrics+"/metrics")
	contains(t, body, "go_goroutines", "process_cpu_seconds_total", "sema_build_info{")
	if code, _ := fetch(t, "http://"+metrics+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("the port of the metrics serves profiles: %d", code)
	}
	t.Run("a head that never ends", func(t *testing.T) {
		conn, err := net.Dial("tcp", metrics)
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: ")
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("it is not closed: %v", err)
		}
	})
	t.Run("a head that is too large", func(t *testing.T) {
		conn, err := net.Dial("tcp", metrics)
		must(t, err)
		defer conn.Close()
		go func() { // ends with the connection
			_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 1<<16)+"\r\n\r\n")
		}()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if !strings.Contains(line, "431") {
			t.Errorf("the answer is %q", line)
		}
	})
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("it ended with %d", r.code)
	}
}

// More connections than there are places wait, and those who have one are served.
func TestObserversAreBounded(t *testing.T) {
	t.Parallel()
	metrics, raftAddr := freeAddr(), freeAddr()
	p := start(t, "serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", raftAddr, "--grpc-addr", "127.0.0.1:0",
		"--peers", "n1="+raftAddr, "--metrics-addr", metrics)
	p.says("is ready")
	probe := func() {
		began := time.Now()
		if code, _ := fetch(t, "http://"+metrics+"/livez"); code != http.StatusOK {
			t.Errorf("livez: %d", code)
		}
		if took := time.Since(began); took > 4*time.Second { // those who say nothing have 5 s
			t.Errorf("livez took %v", took)
		}
	}
	for range 3 * maxObservers { // who say nothing
		conn, err := net.Dial("tcp", metrics)
		must(t, err)
		defer conn.Close()
	}
	probe()
	for range 2 * maxObservers { // who have asked once, and stay
		conn, err := net.Dial("tcp", metrics)
		must(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: n1\r\n\r\n")
		must(t, err)
		_, err = conn.Read(make([]byte, 1))
		must(t, err)
	}
	probe()
}

func TestServeRefusesToBeObserved(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, tc := range []struct {
		flag, addr string
		code       int
		want       []string
	}{
		{"--pprof-addr", "0.0.0.0:7391", exitUsage, []string{"pprof-addr", "loopback"}},
		{"--pprof-addr", "10.0.0.1:7391", exitUsage, []string{"pprof-addr", "loopback"}},
		{"--pprof-addr", ":7391", exitUsage, []string{"pprof-addr", "loopback"}},
		{"--pprof-addr", "localhost", exitUsage, []string{"pprof-addr", "HOST:PORT"}},
		{"--metrics-addr", "7390", exitUsage, []string{"metrics-addr", "HOST:PORT"}},
		{"--metrics-addr", taken.Addr().String(), exitFailed, []string{"metrics address", "address already in use"}},
		{"--pprof-addr", taken.Addr().String(), exitFailed, []string{"pprof address", "address already in use"}},
	} {
		r := semanode(t, "serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0",
			"--peers", "n1=127.0.0.1:7001", "--log-level", "warn", tc.flag, tc.addr)
		contains(t, r.fault(t, tc.code), tc.want...)
	}
}
