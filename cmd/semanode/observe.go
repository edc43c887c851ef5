package main

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

const (
	// maxObservers bounds the connections to each port for observers. When there is one
	// more, the one goes that has asked nothing for longest.
	maxObservers = 64
	// profileTime is how long a profile may take.
	profileTime = 5 * time.Minute
)

// observation is what lets others see a node: two ports, each off unless it has an
// address.
type observation struct {
	metricsAddr string
	pprofAddr   string
}

func addObservation(cmd *cobra.Command) *observation {
	var o observation
	cmd.Flags().StringVar(&o.metricsAddr, "metrics-addr", "", "`HOST:PORT` for /metrics, /livez and /readyz over HTTP,\nsuch as 127.0.0.1:7390; off if not given")
	cmd.Flags().StringVar(&o.pprofAddr, "pprof-addr", "", "`HOST:PORT` on loopback for /debug/pprof/, such as\n127.0.0.1:7391; off if not given")
	return &o
}

// validate reports every fault.
func (o *observation) validate() error {
	var errs []error
	if o.metricsAddr != "" {
		if !hasPort(o.metricsAddr) {
			errs = append(errs, &sema.InvalidError{Field: "metrics-addr", Value: o.metricsAddr, Limit: "HOST:PORT"})
		}
	}
	if o.pprofAddr != "" && (!hasPort(o.pprofAddr) || !onLoopback(o.pprofAddr)) {
		errs = append(errs, &sema.InvalidError{Field: "pprof-addr", Value: o.pprofAddr,
			Limit: "HOST:PORT on loopback, such as 127.0.0.1:7391: profiles show what is in memory; forward the port to see them from elsewhere"})
	}
	return errors.Join(errs...)
}

// hasPort reports whether an address ends with the number of a port.
func hasPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// onLoopback reports whether only this machine reaches an address.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// observers are the servers for those who look.
type observers struct {
	registry *prometheus.Registry // nil: nobody asks for metrics
	node     atomic.Pointer[cluster.Node]
	servers  []*http.Server
	wg       sync.WaitGroup
	failed   chan error // has room for all of them
}

// open starts the servers, which Close ends. Until the node is set they say that it is
// starting. On an error nothing is left behind.
func (o *observation) open(ctx context.Context, logger hclog.Logger) (_ *observers, err error) {
	s := &observers{failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if o.metricsAddr != "" {
		s.registry = prometheus.NewRegistry()
		s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if err := s.serve(ctx, "metrics", o.metricsAddr, cluster.NewHTTPHandler(s.node.Load, s.registry), 30*time.Second, logger); err != nil {
			return nil, err
		}
	}
	if o.pprofAddr != "" {
		if err := s.serve(ctx, "pprof", o.pprofAddr, profiles(), profileTime, logger); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// serve listens, and answers beside the caller.
func (s *observers) serve(ctx context.Context, what, addr string, h http.Handler, longest time.Duration, logger hclog.Logger) error {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%s address: %w", what, err)
	}
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      longest,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // what strangers send is no event
		ConnState:         newCrowd(maxObservers).note,
	}
	s.servers = append(s.servers, server)
	s.wg.Go(func() {
		if err := server.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serving %s on %s: %w", what, lis.Addr(), err)
		}
	})
	logger.Info("serving "+what, "addr", lis.Addr().String())
	return nil
}

// crowd bounds the connections of an HTTP server, so that those which ask nothing do not
// keep out who asks whether the node lives.
type crowd struct {
	most int

	mu      sync.Mutex
	open    int
	waiting list.List                  // of net.Conn that are asking nothing, the longest first
	places  map[net.Conn]*list.Element // there
}

func newCrowd(most int) *crowd { return &crowd{most: most, places: map[net.Conn]*list.Element{}} }

// note is for [http.Server.ConnState].
func (c *crowd) note(conn net.Conn, state http.ConnState) {
	if gone := c.noted(conn, state); gone != nil {
		_ = gone.Close() // whoever serves it learns of it
	}
}

// noted returns the connection that has to go, nil if none.
func (c *crowd) noted(conn net.Conn, state http.ConnState) (gone net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.places[conn]; place != nil {
		c.waiting.Remove(place)
		delete(c.places, conn)
	}
	switch state {
	case http.StateNew:
		c.open++
		c.places[conn] = c.waiting.PushBack(conn)
	case http.StateIdle:
		c.places[conn] = c.waiting.PushBack(conn)
	case http.StateClosed, http.StateHijacked:
		c.open--
	}
	if state != http.StateNew || c.open <= c.most {
		return nil
	}
	gone = c.waiting.Remove(c.waiting.Front()).(net.Conn) // at least the new one is there
	delete(c.places, gone)
	return gone
}

// profiles is /debug/pprof/, on a mux of its own.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Close ends the servers and waits for them. It is idempotent.
func (s *observers) Close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	s.wg.Wait()
	return errors.Join(errs...)
}
