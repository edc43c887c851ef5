package access

import (
	"slices"
	"sort"
	"strings"
)

// Right is what somebody may do.
type Right uint8

// The rights. None includes another.
const (
	// Read: Get, List and, with it on any name, Status.
	Read Right = iota
	// Acquire: Acquire, Wait, Touch, TouchAll and Release, the last three of own holds only:
	// those that the same identity has acquired.
	Acquire
	// Force: ForceRelease, of anybody's hold.
	Force
	// Admin: what concerns the cluster: its members, its leader, its snapshots. It is not
	// about names.
	Admin

	rightCount
)

var rightNames = [rightCount]string{"read", "acquire", "force", "admin"}

// String returns the right's name in the access file.
func (r Right) String() string {
	if r < rightCount {
		return rightNames[r]
	}
	return "unknown"
}

// prefixes are in ascending order, and none is a prefix of another.
type prefixes []string

// newPrefixes leaves out what another one covers.
func newPrefixes(all []string) prefixes {
	sorted := slices.Sorted(slices.Values(all))
	var least prefixes
	for _, p := range sorted {
		if n := len(least); n == 0 || !strings.HasPrefix(p, least[n-1]) {
			least = append(least, p)
		}
	}
	return least
}

// cover reports whether name starts with one of them, in O(log n) comparisons: of those
// that are not above the name only the last can be a prefix of it, because whatever stood
// between another one and the name would start with that other one too.
func (ps prefixes) cover(name string) bool {
	i := sort.Search(len(ps), func(i int) bool { return ps[i] > name })
	return i > 0 && strings.HasPrefix(name, ps[i-1])
}

// within returns what of them lies within a prefix: the prefix itself if they cover it.
func (ps prefixes) within(prefix string) []string {
	if ps.cover(prefix) {
		return []string{prefix}
	}
	first := sort.SearchStrings(ps, prefix)
	end := first
	for end < len(ps) && strings.HasPrefix(ps[end], prefix) {
		end++
	}
	return ps[first:end:end]
}
