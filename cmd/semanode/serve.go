package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/tuning"
)

const serveHelp = `Serve runs one node of a cluster until it is told to stop.

The first start founds the cluster: give every node the same --peers, a list of
all founding nodes and their raft addresses, and start them in any order; it is
founded when all of them run. What was founded is on disk from then on; later
starts may leave --peers out.

A node with --join instead becomes a member of a cluster that is there. It gets
a vote when it has caught up. A node whose disk was lost comes back like that,
after "semanode remove" of what it was.

Settings come from the flag, else from its environment variable, else from the
file of --config, whose keys are these flags, else they have their default.
"semanode config check" tells which, and "config example" prints such a file.

One line on stdout tells that the node is ready: it knows a leader and has
caught up with it, so clients are answered. systemd is told, too (Type=notify).
The log goes to stderr, and a reader of it that goes away takes nothing along.

SIGTERM and SIGINT stop it: if it leads, it hands leadership over first. A
second signal ends it on the spot, which costs the cluster an election and
loses nothing. A node whose disk fails or stalls says so and exits with 1:
restart it or replace the disk, the others go on meanwhile. One that was removed
from the cluster exits with 4: to start it again is of no use.

` + serveTLSHelp + `

With $OTEL_EXPORTER_OTLP_ENDPOINT the node sends spans there, over OTLP and
HTTP, of the calls that clients trace; the other variables of OpenTelemetry
count, too.`

const serveExample = `  semanode serve --id n1 --data-dir /var/lib/semanode \
    --tls-cert n1.pem --tls-key n1-key.pem --tls-client-ca ca.pem \
    --peer-tls-ca ca.pem --raft-addr 10.0.0.1:7373 \
    --grpc-addr 10.0.0.1:7362 \
    --peers n1=10.0.0.1:7373,n2=10.0.0.2:7373,n3=10.0.0.3:7373`

// serving is the flags of serve.
type serving struct {
	cfg         cluster.Config
	peers, join string
	secure      *serveTLS
	store       choice
	processors  int
	observation *observation
	log         *logging
}

func newServeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve --id ID --data-dir DIR --raft-addr HOST:PORT --grpc-addr HOST:PORT --peers LIST",
		Short:   "Run one node",
		Long:    serveHelp,
		Example: serveExample,
		Args:    cobra.NoArgs,
	}
	s := &serving{store: choice{among: logStores}}
	s.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return s.run(cmd) }
	return cmd
}

func (s *serving) add(cmd *cobra.Command) {
	cfg, flags := &s.cfg, cmd.Flags()
	flags.StringVar(&cfg.ID, "id", "", "the node's `ID`, for good: 1 to 64 of a-z A-Z 0-9 . _ -")
	flags.StringVar(&cfg.DataDir, "data-dir", "", "`DIR` for the node's log, votes and snapshots")
	flags.StringVar(&cfg.RaftAddr, "raft-addr", "", "`HOST:PORT` to listen on for other nodes")
	flags.StringVar(&cfg.GRPCAddr, "grpc-addr", "", "`HOST:PORT` to listen on for clients")
	flags.StringVar(&cfg.GRPCAdvertise, "grpc-advertise", "", "`HOST:PORT` at which clients reach --grpc-addr,\nif that differs")
	flags.StringVar(&s.peers, "peers", "", "founding nodes with their raft ports, `ID=HOST:PORT,...`")
	flags.StringVar(&s.join, "join", "", "raft ports of members of a cluster to become a member of,\n`HOST:PORT,...`, instead of --peers; one that lives is enough")
	flags.StringVar(&cfg.RaftAdvertise, "raft-advertise", "", "`HOST:PORT` at which other nodes reach --raft-addr, if that\ndiffers from what --peers says")
	flags.StringVar(&cfg.ClusterName, "cluster-name", "", "`NAME` that tells apart clusters with the same peers")
	flags.DurationVar(&cfg.ElectionTimeout, "election-timeout", cluster.DefaultElectionTimeout,
		"how long the leader may be silent before another\none is elected")
	s.secure = addServeTLS(cmd, cfg)
	flags.StringVar(&cfg.AccessFile, "access-file", "", "`FILE` that says who may do what, see docs/access.md; it is read\nagain when it changes. Without, everybody may do everything")
	addChoice(cmd, &s.store, "log-store", "", "`STORE` of the log, for a new --data-dir ("+string(cluster.DefaultLogStore)+" if not\ngiven; an old one keeps its own)")
	flags.IntVar(&s.processors, "processors", 0, "compute on `N` processors at once; 0: on half of those there are, on all with\na large heap, or what $GOMAXPROCS says")
	s.observation = addObservation(cmd)
	s.log = addLogging(cmd, "info")
	addConfig(cmd)
}

// settle makes the configuration of the flags, and reports every fault
// of it. The files of TLS are open then, also after an error.
func (s *serving) settle(cmd *cobra.Command) (err error) {
	cfg := &s.cfg
	var unreachable error
	if cfg.GRPCAddr == "" { // fine for a node that is embedded
		unreachable = &sema.InvalidError{Field: "grpc-addr", Limit: "HOST:PORT"}
	}
	cfg.Version = thisBuild().Version
	cfg.LogStore = cluster.LogStore(s.store.value)
	cfg.Peers, err = cluster.ParsePeers(s.peers)
	cfg.Join = addresses(s.join)
	cfg.Logger, cfg.AuditLogger = s.log.loggers(cmd.ErrOrStderr())
	files := s.secure.apply(cfg, cfg.Logger)
	checked := *cfg
	checked.Insecure = cfg.Insecure || files != nil // there is to be TLS
	access := checkAccess(cfg.AccessFile)
	if checking(cmd) { // serve may find a file there the next time
		files, access = usage(files), usage(access)
	}
	return errors.Join(err, unreachable, validateProcessors(s.processors), files, s.observation.validate(), access, checked.Validate())
}

func (s *serving) run(cmd *cobra.Command) error {
	defer outlivePipes()()
	hangups := takeHangups()
	defer hangups.stop()
	defer s.secure.close()
	if err := s.settle(cmd); err != nil || checking(cmd) {
		return err
	}
	greet(cmd, s.cfg.Logger)
	checkFiles(s.cfg)
	hangups.reload(s.secure)
	tuning.ProcessorsByHeap(cmd.Context(), s.processors, func(n int) {
		s.cfg.Logger.Info("the size of the heap has changed on how many processors the node computes", "processors", n)
	})
	tuning.HeapFloor()
	provider, end, err := openTracing(cmd.Context(), os.Getenv, s.cfg.ID, s.cfg.Logger)
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	defer end()
	s.cfg.TracerProvider = provider
	return serve(cmd.Context(), s.cfg, s.observation, cmd.OutOrStdout())
}

// ownFiles is room for the files of a node besides the connections of clients: its log and
// snapshots, those of other nodes and observers, and those that are yet to show who they are.
const ownFiles = 2000

// checkFiles warns if the process may open fewer files than there may be connections: it
// would turn clients away before, for want of files, and at worst not open its own.
func checkFiles(cfg cluster.Config) {
	want := uint64(cmp.Or(cfg.MaxConns, cluster.DefaultMaxConns)) + ownFiles
	if most, known := openFiles(); known && most < want {
		cfg.Logger.Warn("the process may open few files, connections among them: raise its limit (LimitNOFILE= under systemd, ulimit -Hn in a shell)",
			"limit", most, "recommended", want)
	}
}

// addresses reads a list of HOST:PORT,...
func addresses(list string) (addrs []string) {
	if list == "" {
		return nil
	}
	for item := range strings.SplitSeq(list, ",") {
		addrs = append(addrs, strings.TrimSpace(item))
	}
	return addrs
}

// checkAccess reads the access file, so that its faults are told with all others.
func checkAccess(file string) error {
	if file == "" {
		return nil
	}
	control, err := access.Open(access.Config{File: file})
	if err == nil {
		control.Close()
	}
	return err
}

// validateProcessors refuses what no machine has.
func validateProcessors(n int) error {
	if n < 0 {
		return &sema.InvalidError{Field: "processors", Value: strconv.Itoa(n), Limit: "0 or more"}
	}
	return nil
}

// serve runs a node until ctx ends, which is no error, or until the node ends by
// itself, which is.
func serve(ctx context.Context, cfg cluster.Config, observation *observation, out io.Writer) (err error) {
	observers, err := observation.open(ctx, cfg.Logger)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, observers.Close()) }() // last: while the node stops, they tell so
	if observers.registry != nil {
		cfg.Metrics = observers.registry
	}
	node, err := cluster.Open(ctx, cfg)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	defer node.Close() // idempotent
	observers.node.Store(node)
	if err := node.WaitReady(ctx); err == nil {
		fmt.Fprintf(out, "node %s is ready: clients at %s, nodes at %s\n", node.ID(), cmp.Or(node.GRPCAddr(), cfg.GRPCAddr), node.RaftAddr())
		notify(cfg.Logger, sayReady)
	}
	select {
	case <-ctx.Done():
		cfg.Logger.Info("stopping", "cause", context.Cause(ctx))
		notify(cfg.Logger, sayStopping)
		return node.Close()
	case err := <-observers.failed:
		return errors.Join(err, node.Close())
	case <-node.Done():
		return errors.Join(fmt.Errorf("node %s ended: %w", node.ID(), node.Err()), node.Close())
	}
}

// unlessInterrupted returns err, but nil if a signal made the command stop.
func unlessInterrupted(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return nil
	}
	return err
}

// logging is the flags of the commands that run nodes.
type logging struct{ level, format choice }

func addLogging(cmd *cobra.Command, level string) *logging {
	l := &logging{
		level:  choice{level, []string{"trace", "debug", "info", "warn", "error", "off"}},
		format: choice{"text", []string{"text", "json"}},
	}
	addChoice(cmd, &l.level, "log-level", "", "`LEVEL` from which on to log to stderr")
	addChoice(cmd, &l.format, "log-format", "", "`FORMAT` of the log")
	return l
}

func (l *logging) logger(w io.Writer) hclog.Logger {
	log, _ := l.loggers(w)
	return log
}

// loggers returns the log and the audit log, which is silent only if there is to be no log
// at all: who asks for warnings only wants less of what nobody has to answer for.
func (l *logging) loggers(w io.Writer) (log, audit hclog.Logger) {
	options := hclog.LoggerOptions{
		Name:       "semanode",
		Level:      hclog.LevelFromString(l.level.value),
		JSONFormat: l.format.value == "json",
		Output:     w,
		Mutex:      new(sync.Mutex),
		TimeFn:     func() time.Time { return time.Now().UTC() },
	}
	log = hclog.New(&options)
	if options.Level != hclog.Off {
		options.Level = min(options.Level, hclog.Info)
	}
	return log, hclog.New(&options).Named("audit")
}
