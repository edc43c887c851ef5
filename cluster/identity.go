package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// A founding member has its id as its name in raft's configuration. One that joined has
// its id and its disk's incarnation: so a node whose disk was lost is another member,
// which has no vote before the cluster has taken it in, and never votes twice in a term.

// incarnation is what tells the disks of a node apart. The zero value is none.
type incarnation [16]byte

func newIncarnation() string {
	var i incarnation
	_, _ = rand.Read(i[:]) // never fails
	return hex.EncodeToString(i[:])
}

func parseIncarnation(s string) (i incarnation, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 0 && len(b) != len(i) {
		return i, fmt.Errorf("%q is no incarnation", s)
	}
	copy(i[:], b)
	return i, nil
}

func (i incarnation) String() string { return hex.EncodeToString(i[:]) }

// member is the name of a member that has joined.
func (i incarnation) member(id string) raft.ServerID { return raft.ServerID(id + "@" + i.String()) }

// nodeID is the id of the node that is this member.
func nodeID(member raft.ServerID) string {
	id, _, _ := strings.Cut(string(member), "@")
	return id
}

func (r foundingRecord) incarnation() (incarnation, error) { return parseIncarnation(r.Incarnation) }

// member is this node's name in raft's configuration.
func (r foundingRecord) member() raft.ServerID {
	if i, err := r.incarnation(); err == nil && r.Joined {
		return i.member(r.NodeID)
	}
	return raft.ServerID(r.NodeID)
}

// founders reads r.Founders.
func (r foundingRecord) founders() (map[string]incarnation, error) {
	founders := map[string]incarnation{}
	if r.Founders == "" {
		return founders, nil
	}
	for item := range strings.SplitSeq(r.Founders, ",") {
		id, text, _ := strings.Cut(item, "=")
		i, err := parseIncarnation(text)
		if err != nil || id == "" || i == (incarnation{}) {
			return nil, fmt.Errorf("founders %q", r.Founders)
		}
		founders[id] = i
	}
	return founders, nil
}

// withFounders is the inverse.
func (r foundingRecord) withFounders(founders map[string]incarnation) foundingRecord {
	var items []string
	for _, id := range slices.Sorted(maps.Keys(founders)) {
		items = append(items, id+"="+founders[id].String())
	}
	r.Founders = strings.Join(items, ",")
	return r
}

// cluster is the id of the cluster, by which its nodes know each other. The disks of all
// founders are part of it: so a founder whose disk was lost cannot found the same cluster
// again, also if there is nobody to tell it that it did. ok is false while the cluster is being founded.
func (r foundingRecord) cluster() (id [16]byte, ok bool) {
	if r.ClusterID == "" || r.Founders == "" && !r.entered() {
		return id, false
	}
	base, err := hex.DecodeString(r.ClusterID)
	if err != nil || len(base) != len(id) {
		return id, false // check has refused it
	}
	if r.Founders == "" { // from before there were incarnations
		return [16]byte(base), true
	}
	sum := sha256.Sum256([]byte(r.ClusterID + "\n" + r.Founders))
	return [16]byte(sum[:16]), true
}

// entered reports whether the node may take part in its cluster: it has, or its disk is
// older than incarnations are.
func (r foundingRecord) entered() bool {
	if r.Joined {
		return r.Bootstrapped
	}
	return r.Founders != "" || r.Bootstrapped && r.Incarnation == ""
}

// record is the founding record of a node that runs.
type record struct {
	mu    sync.Mutex
	value foundingRecord
}

func (r *record) get() foundingRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value
}

func (r *record) set(value foundingRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value = value
}

// membership is the newest that this node knows to be committed.
type membership struct {
	mu      sync.Mutex
	index   uint64 // the entry of the log; 0: none is known yet
	members []raft.Server
}

func (m *membership) set(index uint64, c raft.Configuration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index >= m.index {
		m.index, m.members = index, c.Servers
	}
}

// get returns the membership; the slice is not to be changed.
func (m *membership) get() (index uint64, members []raft.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index, m.members
}
