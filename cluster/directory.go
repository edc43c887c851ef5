package cluster

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Founding is what a data directory was made for. It is written once, on the
// node's first start, and decides on every later one.
type Founding struct {
	NodeID      string
	ClusterName string
	ClusterID   string // hexadecimal; the same on every node of the cluster
	Peers       []Peer // the founding members
}

const foundingFile = "node.json"

// foundingRecord is the content of node.json.
type foundingRecord struct {
	Format      int    `json:"format"`
	NodeID      string `json:"nodeId"`
	ClusterName string `json:"clusterName,omitempty"`
	ClusterID   string `json:"clusterId"`
	Peers       string `json:"peers"`
	// LogStore is where the log is, by a name; none is BoltDB. It has another format,
	// so that builds which know of one store only do not take an empty one for the log.
	LogStore LogStore `json:"logStore,omitempty"`
	// Incarnation tells this disk from one that the node had before and lost: made up
	// when the directory was claimed, hexadecimal. Empty: from before there was one.
	Incarnation string `json:"incarnation,omitempty"`
	// Founders are the founding members with their incarnations, ID=hexadecimal,...,
	// from the moment on at which this node has heard from all of them.
	Founders string `json:"founders,omitempty"`
	// Joined is true for a node that is no founding member. It is a member from the log
	// entry Admitted on.
	Joined   bool   `json:"joined,omitempty"`
	Admitted uint64 `json:"admitted,omitempty"`
	// Bootstrapped is false until the log holds the founding membership. From
	// then on a missing log means that it was lost, and with it the node's votes. For a
	// node that joined it is false until it was admitted.
	Bootstrapped bool `json:"bootstrapped"`
	// Restored says what the cluster was made of, if that was a backup: its checksum, the
	// generation of tokens, and what was left out.
	Restored string `json:"restored,omitempty"`
}

// The formats of a founding record.
const (
	foundingFormat = 1 // the log is in BoltDB
	storesFormat   = 2 // LogStore tells
	joinedFormat   = 3 // the same, and Joined is true
)

// ReadFounding returns what the data directory was made for, or an error that
// matches [fs.ErrNotExist] if it was not used yet.
func ReadFounding(dir string) (Founding, error) {
	r, err := readFounding(dir)
	if err != nil {
		return Founding{}, err
	}
	peers, err := ParsePeers(r.Peers)
	return Founding{NodeID: r.NodeID, ClusterName: r.ClusterName, ClusterID: r.ClusterID, Peers: peers}, err
}

func readFounding(dir string) (foundingRecord, error) {
	path := filepath.Join(dir, foundingFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return foundingRecord{}, err
	}
	return parseFounding(data, path)
}

func parseFounding(data []byte, path string) (foundingRecord, error) {
	var r foundingRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s is damaged: %w; %s", path, err, cure)
	}
	if r.Format < foundingFormat || r.Format > joinedFormat {
		return r, fmt.Errorf("%s has format %d, this build knows %d to %d: use the version of semanode that wrote it", path, r.Format, foundingFormat, joinedFormat)
	}
	if err := r.check(); err != nil {
		return r, fmt.Errorf("%s is damaged: %w; %s", path, err, cure)
	}
	return r, nil
}

// check holds the record's parts to each other.
func (r foundingRecord) check() error {
	peers, err := ParsePeers(r.Peers)
	if err != nil {
		return fmt.Errorf("peers %q", r.Peers)
	}
	cfg := Config{ID: r.NodeID, ClusterName: r.ClusterName, Peers: peers}
	if err := cfg.validatePeers(!r.Joined); err != nil {
		return fmt.Errorf("node %q with peers %q", r.NodeID, r.Peers)
	}
	if _, err := r.incarnation(); err != nil || r.Joined && r.Incarnation == "" {
		return fmt.Errorf("incarnation %q", r.Incarnation)
	}
	if _, err := r.founders(); err != nil {
		return err
	}
	if id := r.identity(cfg); r.ClusterID != hex.EncodeToString(id[:]) {
		return fmt.Errorf("cluster id %q is not that of its peers", r.ClusterID)
	}
	if r != r.withStore(r.store()) || r.LogStore != WAL && r.LogStore != BoltDB && r.LogStore != "" {
		return fmt.Errorf("log store %q in format %d", r.LogStore, r.Format)
	}
	return nil
}

// openDirectory makes sure that the data directory is this node's, and claims
// an empty one for it. It overwrites nothing.
func openDirectory(cfg Config) (foundingRecord, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return foundingRecord{}, fmt.Errorf("data directory: %w", err)
	}
	r, err := readFounding(cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return claimDirectory(cfg)
	}
	if err != nil {
		return r, err
	}
	if !r.Bootstrapped && len(cfg.Peers) > 0 && !exists(filepath.Join(cfg.DataDir, logFile)) {
		return claimDirectory(cfg) // the first start failed before anything was written, such as for a wrong address
	}
	return r, r.belongsTo(cfg)
}

// belongsTo refuses a directory that is another node's.
func (r foundingRecord) belongsTo(cfg Config) error {
	if r.NodeID != cfg.ID {
		return fmt.Errorf("data directory %s belongs to node %q, not to %q: start it with --id %s, or use another directory",
			cfg.DataDir, r.NodeID, cfg.ID, r.NodeID)
	}
	if cfg.ClusterName != r.ClusterName && (!r.Joined || cfg.ClusterName != "") { // one that joins learns it
		return fmt.Errorf("data directory %s belongs to the cluster named %q, not to %q: use another directory",
			cfg.DataDir, r.ClusterName, cfg.ClusterName)
	}
	if list := formatPeers(cfg.Peers); len(cfg.Peers) > 0 && list != r.Peers {
		return fmt.Errorf("data directory %s belongs to the cluster that was founded by %s, not by %s: "+
			"use another directory, or leave the peers out", cfg.DataDir, r.Peers, list)
	}
	if cfg.LogStore != "" && cfg.LogStore != r.store() && cfg.Host.OpenDisk == nil {
		return fmt.Errorf("data directory %s keeps its log in %s, not in %s: leave --log-store out, or move the log, while the node is stopped, with semanode log-store convert --data-dir %s --to %s",
			cfg.DataDir, r.store(), cfg.LogStore, cfg.DataDir, cfg.LogStore)
	}
	return nil
}

// claimDirectory writes the founding record into a directory that is empty.
func claimDirectory(cfg Config) (foundingRecord, error) {
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		return foundingRecord{}, fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == restoringFile {
			return foundingRecord{}, brokenRestore(cfg.DataDir)
		}
		if name := e.Name(); name != "lost+found" && name != snapshotDir && !strings.HasPrefix(name, foundingFile) {
			return foundingRecord{}, fmt.Errorf("data directory %s holds %s but no %s: it is not a node's directory; use an empty one", cfg.DataDir, name, foundingFile)
		}
	}
	r, err := newFounding(cfg)
	if err != nil || r.Joined { // such a one is claimed when its cluster is known
		return r, err
	}
	return r, writeFounding(cfg.DataDir, r)
}

func newFounding(cfg Config) (foundingRecord, error) {
	r := foundingRecord{Format: foundingFormat, NodeID: cfg.ID, ClusterName: cfg.ClusterName, Incarnation: newIncarnation(), Joined: len(cfg.Join) > 0}
	switch {
	case r.Joined && len(cfg.Peers) > 0:
		return foundingRecord{}, invalid("join", strings.Join(cfg.Join, ","), "either peers, to found a cluster, or join, to become a member of one that is there, on a node's first start")
	case r.Joined:
		r.Format = joinedFormat
	case len(cfg.Peers) == 0:
		return foundingRecord{}, invalid("peers", "", "the founding members, or nodes to join, on a node's first start")
	default:
		id := cfg.clusterID()
		r.ClusterID, r.Peers = hex.EncodeToString(id[:]), formatPeers(cfg.Peers)
	}
	if cfg.Host.OpenDisk == nil { // else the disk keeps its log in its own way
		r = r.withStore(cmp.Or(cfg.LogStore, DefaultLogStore))
	}
	return r, nil
}

// writeFounding replaces the record in one step and makes it survive a power cut.
func writeFounding(dir string, r foundingRecord) error { return putFounding(dir, r, os.Rename) }

// createFounding is writeFounding where there must be no record yet.
func createFounding(dir string, r foundingRecord) error {
	return putFounding(dir, r, func(from, to string) error {
		if err := os.Link(from, to); err != nil { // fails if it is there
			return err
		}
		return os.Remove(from)
	})
}

func putFounding(dir string, r foundingRecord, put func(from, to string) error) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, foundingFile+".*")
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = put(f.Name(), filepath.Join(dir, foundingFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("data directory: %w", err), os.Remove(f.Name()))
	}
	return syncDirectory(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
