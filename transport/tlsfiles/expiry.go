package tlsfiles

import (
	"crypto/x509"
	"time"
)

// When to warn: so long before the end, but not in the first part of the life of a
// certificate that lives for days only.
const (
	soon     = 30 * 24 * time.Hour
	verySoon = 7 * 24 * time.Hour
	again    = 24 * time.Hour
)

// gravity is how near the end of a certificate is.
type gravity int

const (
	fine gravity = iota
	nearing
	near
	over
)

func gravityOf(c *x509.Certificate, now time.Time) gravity {
	left, life := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	switch {
	case left < 0:
		return over
	case left < min(verySoon, life/10):
		return near
	case left < min(soon, life/3):
		return nearing
	}
	return fine
}

// warn tells, once a day and when it gets worse, which certificate ends first. f.mu is held,
// or nobody else has f yet.
func (f *Files) warn(m *material, now time.Time) {
	worst, path, first := fine, f.cfg.Cert, m.leaf
	if first != nil {
		worst = gravityOf(first, now)
	}
	for _, a := range m.authorities {
		if g := gravityOf(a, now); g > worst {
			worst, path, first = g, f.cfg.CA, a
		}
	}
	if worst == fine || worst <= f.grave && now.Sub(f.warned) < again {
		return
	}
	f.warned, f.grave = now, worst
	tell, what := f.cfg.Logger.Warn, "a certificate expires soon: renew it"
	switch worst {
	case near:
		tell = f.cfg.Logger.Error
	case over:
		tell, what = f.cfg.Logger.Error, "a certificate has expired, and new connections fail: renew it"
	}
	tell(what, "file", path, "subject", first.Subject, "expires", stamp(first.NotAfter))
}
