package cluster

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/host"
)

// The defaults of [Config].
const (
	DefaultElectionTimeout   = 400 * time.Millisecond
	DefaultWatchdogTimeout   = 10 * time.Second
	DefaultOverdueRetention  = 24 * time.Hour
	DefaultWaiterLinger      = 5 * time.Second
	DefaultWaiterGrace       = 10 * time.Second
	DefaultSnapshotInterval  = 30 * time.Second
	DefaultSnapshotThreshold = 16384
	DefaultTrailingLogs      = 10240
	DefaultMaxConns          = 10_000
)

// Peer is one founding member of a cluster.
type Peer struct {
	ID   string
	Addr string // host:port at which other nodes reach its raft port
}

// Config says what node to open. ID, DataDir and, on the first start, Peers are
// required; the zero value of everything else is a good default.
type Config struct {
	// ID names the node in the cluster, for good: 1 to 64 of a-z A-Z 0-9 . _ -
	ID string
	// DataDir holds the node's log, votes and snapshots. It is made if it does
	// not exist. A directory belongs to one node of one cluster; Open refuses
	// another's, and one that another process has open.
	DataDir string
	// RaftAddr is the host:port to listen on for other nodes. The port may be
	// 0 for any only if Peers does not matter to it, as in a test.
	RaftAddr string
	// GRPCAddr is the host:port to listen on for clients. Empty: the node
	// serves this process only.
	GRPCAddr string
	// GRPCAdvertise is the host:port at which clients reach GRPCAddr, told to
	// those who ask for the leader. Empty: GRPCAddr as bound, if that is a
	// concrete address.
	GRPCAdvertise string
	// Peers are the founding members with this node among them: the same list
	// on every node, whose starts may come in any order. On later starts the
	// membership is on disk; the list may be left out, and if it is given it
	// must be the founding one.
	Peers []Peer
	// Join are raft addresses of members of a cluster that this node is to become a
	// member of, on its first start, instead of Peers: one that answers is enough. On
	// later starts it is of no matter.
	Join []string
	// RaftAdvertise is the host:port at which other nodes reach RaftAddr, if that is
	// neither what Peers says of this node nor RaftAddr as bound. A node that comes
	// back with another one tells the cluster.
	RaftAdvertise string
	// ClusterName tells apart two clusters that were founded with the same
	// list of peers. Optional; the same on every node, for good.
	ClusterName string

	// TLS, if set, is spoken with clients at GRPCAddr.
	TLS *tls.Config `json:"-"`
	// PeerTLS, if set, is what nodes speak with each other, in both directions and mutually.
	// It is asked before every handshake, so that what was renewed is used; certificates and
	// RootCAs of its answer count. Each node's certificate needs the name
	// [transport.NodeName], see [transport.CheckNode]. All nodes have it, or none.
	PeerTLS func() *tls.Config `json:"-"`
	// Insecure allows to listen beyond this machine's loopback without TLS: then whoever
	// reaches the port may do everything.
	Insecure bool
	// MaxConns bounds the connections at GRPCAddr. 10,000 if zero.
	MaxConns int
	// AccessFile says who may do what at GRPCAddr, see package access. It is read again
	// when it changes. Empty: everybody may do everything.
	AccessFile string
	// InsecureTokens takes bearer tokens over connections without TLS too that come from
	// other machines, which others can read on the way. Insecure does not imply it.
	InsecureTokens bool

	// Logger gets the node's log and, under "raft", the consensus library's.
	// Nil: nothing is logged.
	Logger hclog.Logger
	// AuditLogger gets what somebody may have to answer for: changes of members and, with an
	// AccessFile, forced releases and denials. Nil: it goes to Logger, under "audit" and from its level on,
	// which should let Info pass.
	AuditLogger hclog.Logger
	// Metrics, if set, gets the node's metrics, which docs/metrics.md lists, until the
	// node has ended. A registry is for one node: several in a process need one each, or
	// one that is wrapped with a label. Nil: nothing is counted.
	Metrics prometheus.Registerer `json:"-"`
	// Version is what sema_build_info tells, of the program that runs the node; if empty,
	// that of this module.
	Version string
	// TracerProvider, if set, traces the calls whose callers trace them, on their way
	// through this node and its log. Nil: nothing is traced, and that costs nothing.
	TracerProvider trace.TracerProvider `json:"-"`

	// LogStore is what keeps the log in DataDir: [WAL] or [BoltDB]. Empty: what the
	// directory has, and in a new one [DefaultLogStore]. Open refuses another one than
	// the directory has; [ConvertLog] moves the log.
	LogStore LogStore
	// LogSegmentSize is how many bytes fill a file of the log in a [WAL]. 16 MiB if
	// zero; at least 64 KiB and at most 1 GiB.
	LogSegmentSize uint32

	// ElectionTimeout is how long followers wait for a silent leader before
	// one of them runs, up to twice that long. At least ten times the 99th
	// percentile of an fsync. 400 ms if zero.
	ElectionTimeout time.Duration
	// WatchdogTimeout is how long one disk operation may take before the node
	// ends itself, so that another can lead. 10 s if zero.
	WatchdogTimeout time.Duration
	// OverdueRetention is how long after its deadline a hold that nobody asks
	// for is kept, so that the next acquirer learns how it ended. 24 h if zero.
	OverdueRetention time.Duration
	// WaiterLinger is how long the place in line of a client is kept whose
	// connection was lost. 5 s if zero.
	WaiterLinger time.Duration
	// WaiterGrace is how long a new leader waits for those in line to come back to
	// it before it cancels them. It should be more than clients need to notice
	// that a node hangs: those of this module need up to 5 s. 10 s if zero.
	WaiterGrace time.Duration
	// SnapshotInterval is how often the node looks whether SnapshotThreshold
	// log entries have come since the last snapshot. 30 s and 16,384 if zero.
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	// TrailingLogs is how many entries stay in the log after a snapshot, for
	// followers that are a little behind. 10,240 if zero.
	TrailingLogs uint64

	// Host is for package testcluster, which puts nodes on machines of its own.
	// Leave it zero: the operating system's network, disk and clocks.
	Host host.Host `json:"-"`
}

// Validate reports every fault of the configuration, joined; each is a
// [sema.InvalidError].
func (c Config) Validate() error {
	errs := []error{
		validateID("id", c.ID),
		validateAddr("raft-addr", c.RaftAddr),
	}
	if c.DataDir == "" && c.Host.OpenDisk == nil {
		errs = append(errs, invalid("data-dir", "", "a directory"))
	}
	if c.GRPCAddr != "" {
		errs = append(errs, validateAddr("grpc-addr", c.GRPCAddr))
	}
	if c.GRPCAdvertise != "" {
		errs = append(errs, validateAddr("grpc-advertise", c.GRPCAdvertise))
	}
	if c.RaftAdvertise != "" {
		errs = append(errs, validateAddr("raft-advertise", c.RaftAdvertise))
	}
	if len(c.Peers) > 0 {
		errs = append(errs, c.validatePeers(true))
	}
	for _, addr := range c.Join {
		errs = append(errs, validateAddr("join", addr))
	}
	errs = append(errs, c.validateExposure())
	if c.LogStore != "" && c.LogStore != WAL && c.LogStore != BoltDB {
		errs = append(errs, invalid("log-store", string(c.LogStore), string(WAL)+" or "+string(BoltDB)))
	}
	if c.LogSegmentSize != 0 && (c.LogSegmentSize < 64<<10 || c.LogSegmentSize > 1<<30) {
		errs = append(errs, invalid("log-segment-size", strconv.Itoa(int(c.LogSegmentSize)), "64 KiB to 1 GiB"))
	}
	if c.ElectionTimeout != 0 && c.ElectionTimeout < 10*time.Millisecond {
		errs = append(errs, invalid("election-timeout", c.ElectionTimeout.String(), "10ms or more"))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"watchdog-timeout", c.WatchdogTimeout}, {"overdue-retention", c.OverdueRetention}, {"snapshot-interval", c.SnapshotInterval},
		{"waiter-linger", c.WaiterLinger}, {"waiter-grace", c.WaiterGrace}} {
		if d.value < 0 {
			errs = append(errs, invalid(d.field, d.value.String(), "0 (the default) or more"))
		}
	}
	return errors.Join(errs...)
}

// validatePeers reports every fault of the list. self is whether this node is to be in it.
func (c Config) validatePeers(self bool) error {
	var errs []error
	ids, addrs := map[string]bool{}, map[string]bool{}
	for _, p := range c.Peers {
		errs = append(errs, validateID("peers", p.ID), validateAddr("peers", p.Addr))
		if ids[p.ID] {
			errs = append(errs, invalid("peers", p.ID, "each id once"))
		}
		if addrs[p.Addr] {
			errs = append(errs, invalid("peers", p.Addr, "each address once"))
		}
		ids[p.ID], addrs[p.Addr] = true, true
	}
	if self && !ids[c.ID] {
		errs = append(errs, invalid("peers", formatPeers(c.Peers), "a list with this node, "+strconv.Quote(c.ID)+", in it"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.ElectionTimeout = cmp.Or(c.ElectionTimeout, DefaultElectionTimeout)
	c.WatchdogTimeout = cmp.Or(c.WatchdogTimeout, DefaultWatchdogTimeout)
	c.OverdueRetention = cmp.Or(c.OverdueRetention, DefaultOverdueRetention)
	c.WaiterLinger = cmp.Or(c.WaiterLinger, DefaultWaiterLinger)
	c.WaiterGrace = cmp.Or(c.WaiterGrace, DefaultWaiterGrace)
	c.SnapshotInterval = cmp.Or(c.SnapshotInterval, DefaultSnapshotInterval)
	c.SnapshotThreshold = cmp.Or(c.SnapshotThreshold, DefaultSnapshotThreshold)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, DefaultTrailingLogs)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.Host = c.Host.WithDefaults()
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.AuditLogger == nil {
		c.AuditLogger = c.Logger.Named("audit")
	}
	return c
}

// clusterID is the identity of the cluster that these peers found: the same on
// every node without a word between them.
func (c Config) clusterID() [16]byte {
	sum := sha256.Sum256([]byte(c.ClusterName + "\n" + formatPeers(c.Peers)))
	return [16]byte(sum[:16])
}

// ParsePeers reads a list such as "n1=10.0.0.1:7373,n2=10.0.0.2:7373".
func ParsePeers(list string) ([]Peer, error) {
	if list == "" {
		return nil, nil
	}
	var peers []Peer
	for item := range strings.SplitSeq(list, ",") {
		id, addr, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || id == "" || addr == "" {
			return nil, invalid("peers", item, "ID=HOST:PORT, separated by commas")
		}
		peers = append(peers, Peer{ID: id, Addr: addr})
	}
	return peers, nil
}

// formatPeers is the inverse of ParsePeers, in ascending order of id.
func formatPeers(peers []Peer) string {
	sorted := slices.SortedFunc(slices.Values(peers), func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	items := make([]string, len(sorted))
	for i, p := range sorted {
		items[i] = p.ID + "=" + p.Addr
	}
	return strings.Join(items, ",")
}

func validateID(field, id string) error {
	ok := len(id) >= 1 && len(id) <= 64
	for _, r := range id {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if !ok {
		return invalid(field, id, "an id of 1 to 64 of a-z A-Z 0-9 . _ -")
	}
	return nil
}

func validateAddr(field, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		listens := field == "raft-addr" || field == "grpc-addr" // may say "any host", "any port"
		if err == nil && (listens || host != "" && n > 0) {
			return nil
		}
	}
	return invalid(field, addr, "HOST:PORT")
}

func invalid(field, value, limit string) error {
	if len(value) > 256 {
		value = fmt.Sprintf("%s… (%d bytes)", value[:256], len(value))
	}
	return &sema.InvalidError{Field: field, Value: value, Limit: limit}
}
