package access

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/semanode/sema"
)

// Policy is what an access file says. It never changes.
type Policy struct {
	identities map[string]*Identity
	byToken    map[uint64][]secret // by the first bytes of the hash
	byName     map[certName]*Identity
	cluster    ClusterLimits
}

// certName is a name in a certificate.
type certName struct{ kind, value string }

// The kinds, as in the access file.
const (
	kindCN  = "cn"
	kindDNS = "dns"
	kindURI = "uri"
)

// Identity is somebody whom the access file knows.
type Identity struct {
	name    string
	names   [Admin]prefixes // by right, for those that are about names
	admin   bool
	limits  Limits
	cluster ClusterLimits
}

// Limits are those of one identity. Zero is none.
type Limits struct {
	// Holds bounds its holds and tickets together, in the whole cluster: a ticket becomes
	// a hold by itself.
	Holds uint32
	// Tickets bounds its tickets.
	Tickets uint32
	// Requests bounds how many calls a second each node takes from it in the long run, and
	// Burst how many at once.
	Requests, Burst uint32
	// Clients bounds as how many clients each node takes calls from it, within
	// [ClientRetention] to twice that.
	Clients uint32
}

// ClusterLimits are those of everybody together. Zero is none.
type ClusterLimits struct {
	Holds uint32 // all holds
	Names uint32 // names that somebody holds
}

// Counts reports whether there are limits that the cluster keeps count for: of anything but
// requests.
func (p *Policy) Counts() bool {
	if p.cluster != (ClusterLimits{}) {
		return true
	}
	for _, id := range p.identities {
		if id.limits.Holds > 0 || id.limits.Tickets > 0 {
			return true
		}
	}
	return false
}

// Name returns the identity's name.
func (id *Identity) Name() string { return id.name }

// Limits returns the identity's limits.
func (id *Identity) Limits() Limits { return id.limits }

// Cluster returns the limits of everybody together, as the same file has them.
func (id *Identity) Cluster() ClusterLimits { return id.cluster }

// May is nil if the identity has the right on the name, or a [sema.DeniedError]. For
// [Admin] the name is of no matter.
func (id *Identity) May(right Right, name string) error {
	if id.Has(right, name) {
		return nil
	}
	if right >= Admin {
		name = ""
	}
	return &sema.DeniedError{Identity: id.name, Right: right.String(), Name: name}
}

// Has is May without an error to say so.
func (id *Identity) Has(right Right, name string) bool {
	return right == Admin && id.admin || right < Admin && id.names[right].cover(name)
}

// MayAnywhere is nil if the identity has the right on any name at all.
func (id *Identity) MayAnywhere(right Right) error {
	if right == Admin && id.admin || right < Admin && len(id.names[right]) > 0 {
		return nil
	}
	return &sema.DeniedError{Identity: id.name, Right: right.String()}
}

// Within returns the prefixes below which the names with this prefix lie that the
// identity has the right on: the prefix itself if it has it on all of them. With
// none the error is a [sema.DeniedError].
func (id *Identity) Within(right Right, prefix string) ([]string, error) {
	if right < Admin {
		if within := id.names[right].within(prefix); len(within) > 0 {
			return within, nil
		}
	}
	return nil, &sema.DeniedError{Identity: id.name, Right: right.String(), Name: prefix}
}

// secret is the hash of a token, and whose it is.
type secret struct {
	hash Hash
	id   *Identity
}

// ByToken returns whose token this is. The error matches [sema.ErrUnauthenticated].
//
// What is compared are hashes, and in constant time. Only their first 8 bytes choose what
// with, by a map: the time of that could tell somebody that a hash in the file begins
// like that of the token shown, and leaves 192 bits of it to be found, and then a token
// that has it.
func (p *Policy) ByToken(text string) (*Identity, error) {
	token, err := ParseToken(text)
	if err != nil {
		return nil, unauthenticated("the token is malformed")
	}
	hash := token.Hash()
	var found *Identity
	for _, s := range p.byToken[hash.index()] { // all of them, as a rule one
		if subtle.ConstantTimeCompare(s.hash[:], hash[:]) == 1 {
			found = s.id
		}
	}
	if found == nil {
		return nil, unauthenticated("the token is not known here")
	}
	return found, nil
}

func (h Hash) index() uint64 { return binary.BigEndian.Uint64(h[:]) }

// ByCertificate returns who shows this certificate, which the caller has verified. One
// that names several identities is nobody's: which of them it should be is not for a
// guess. The error matches [sema.ErrUnauthenticated].
func (p *Policy) ByCertificate(cert *x509.Certificate) (*Identity, error) {
	var found *Identity
	several := false
	look := func(kind, value string) {
		id := p.byName[certName{kind, value}]
		if id == nil || id == found {
			return
		}
		several = several || found != nil
		found = id
	}
	look(kindCN, cert.Subject.CommonName)
	for _, name := range cert.DNSNames {
		look(kindDNS, name)
	}
	for _, uri := range cert.URIs {
		look(kindURI, uri.String())
	}
	switch {
	case several:
		return nil, unauthenticated("the certificate names several identities")
	case found == nil:
		return nil, unauthenticated("the certificate names no identity that is known here")
	}
	return found, nil
}

// ByName returns the identity with this name, nil if there is none.
func (p *Policy) ByName(name string) *Identity { return p.identities[name] }

func unauthenticated(why string) error { return fmt.Errorf("%w: %s", sema.ErrUnauthenticated, why) }

// over is the error of a call that came too soon.
func over(id *Identity, wait time.Duration) error {
	return &sema.LimitError{Of: "requests a second of identity " + id.name, Most: uint64(id.limits.Requests), RetryAfter: wait.Round(time.Millisecond)}
}
