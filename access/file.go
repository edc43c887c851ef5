package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/semanode/sema"
)

// everybody in a rule is every identity of the file.
const everybody = "*"

// file reads the whole file. What refers to something is looked up by build.
func (p *parser) file(n *yaml.Node) {
	if n == nil {
		p.fault(1, "access file", "nothing", "identities and rules: a file without them would lock everybody out")
		return
	}
	seen := p.mapping(n, "access file",
		section{"identities", func(n *yaml.Node, path string) { p.each(n, path, MaxIdentities, p.identity) }},
		section{"groups", p.readGroups},
		section{"rules", func(n *yaml.Node, path string) { p.each(n, path, MaxIdentities, p.rule) }},
		section{"limits", func(n *yaml.Node, path string) { p.readLimits(n, path, &p.limits) }},
		section{"cluster", func(n *yaml.Node, path string) {
			p.mapping(n, path, section{"holds", p.number(&p.policy.cluster.Holds)}, section{"names", p.number(&p.policy.cluster.Names)})
		}},
	)
	for _, key := range []string{"identities", "rules"} {
		if seen[key] == 0 && n.Kind == yaml.MappingNode {
			p.fault(n.Line, key, "nothing", "a list: without it everybody would be locked out")
		}
	}
}

func (p *parser) identity(n *yaml.Node, path string) {
	id := new(Identity)
	var tokens int
	seen := p.mapping(n, path,
		section{"name", func(n *yaml.Node, path string) { id.name = p.newName(n, path, "an identity") }},
		section{"certificate", func(n *yaml.Node, path string) {
			var sections []section
			for _, kind := range []string{kindCN, kindDNS, kindURI} {
				sections = append(sections, section{kind, func(n *yaml.Node, path string) {
					p.each(n, path, MaxPrefixes, func(n *yaml.Node, path string) { p.certificate(n, path, kind, id) })
				}})
			}
			p.mapping(n, path, sections...)
		}},
		section{"tokens", func(n *yaml.Node, path string) {
			p.each(n, path, maxTokens, func(n *yaml.Node, path string) { p.token(n, path, id); tokens++ })
		}},
		section{"limits", func(n *yaml.Node, path string) { p.readLimits(n, path, &id.limits) }},
	)
	if n.Kind == yaml.MappingNode && seen["name"] == 0 {
		p.fault(n.Line, path+".name", "nothing", "a name")
	}
	if n.Kind == yaml.MappingNode && seen["certificate"] == 0 && tokens == 0 {
		p.fault(n.Line, path, id.name, "a certificate or tokens: nobody could be this identity")
	}
	if id.name != "" {
		p.list = append(p.list, id)
	}
}

// newName reads the name of an identity or a group, which share one space: a rule names
// either.
func (p *parser) newName(n *yaml.Node, path, what string) string {
	name, ok := p.text(n, path)
	switch {
	case !ok:
		return ""
	case !ValidName(name):
		p.fault(n.Line, path, name, fmt.Sprintf("1 to %d of a-z A-Z 0-9 . _ - @ / :", MaxIdentityBytes))
		return ""
	case p.names[name] != "":
		p.fault(n.Line, path, name, "a name of its own: there is "+p.names[name]+" with it already")
		return ""
	}
	p.names[name] = what
	return name
}

// ValidName reports whether this can be the name of an identity or a group: 1 to
// [MaxIdentityBytes] of a-z A-Z 0-9 . _ - @ / :
func ValidName(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-@/:", r) {
			return false
		}
	}
	return name != "" && len(name) <= MaxIdentityBytes
}

func (p *parser) certificate(n *yaml.Node, path, kind string, id *Identity) {
	value, ok := p.text(n, path)
	if !ok {
		return
	}
	key := certName{kind, value}
	if _, taken := p.holders[key]; taken || value == "" {
		p.fault(n.Line, path, value, "a name that no other identity has")
		return
	}
	p.holders[key] = path
	p.policy.byName[key] = id
}

func (p *parser) token(n *yaml.Node, path string, id *Identity) {
	text, ok := p.text(n, path)
	if !ok {
		return
	}
	hash, ok := ParseHash(text)
	switch {
	case strings.HasPrefix(text, tokenPrefix):
		p.fault(n.Line, path, "(not shown)", `the hash of the token, as "semanode token new" prints it, and not the token: it is no secret any more, withdraw it`)
	case !ok:
		p.fault(n.Line, path, text, "sha256: and 64 digits of 0-9 a-f")
	case p.hashes[hash] != "":
		p.fault(n.Line, path, text, "each token once: it is at "+p.hashes[hash]+" too")
	default:
		p.hashes[hash] = path
		p.policy.byToken[hash.index()] = append(p.policy.byToken[hash.index()], secret{hash, id})
	}
}

func (p *parser) readLimits(n *yaml.Node, path string, to *Limits) {
	seen := p.mapping(n, path, section{"holds", p.number(&to.Holds)}, section{"tickets", p.number(&to.Tickets)},
		section{"requests-per-second", p.number(&to.Requests)}, section{"burst", p.number(&to.Burst)},
		section{"clients", p.number(&to.Clients)})
	if seen["burst"] != 0 && seen["requests-per-second"] == 0 {
		p.fault(seen["burst"], path+".burst", "", "requests-per-second beside it")
	}
}

func (p *parser) readGroups(n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		p.fault(n.Line, path, kindOf(n), "a mapping of names to lists of identities")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := p.newName(n.Content[i], path, "a group")
		var members []string
		p.texts(n.Content[i+1], path+"."+n.Content[i].Value, MaxIdentities, &members)
		if name != "" {
			p.groups[name] = group{n.Content[i].Line, members}
		}
	}
}

func (p *parser) rule(n *yaml.Node, path string) {
	r := rule{line: n.Line}
	seen := p.mapping(n, path,
		section{"who", func(n *yaml.Node, path string) { p.texts(n, path, MaxIdentities, &r.who) }},
		section{"names", func(n *yaml.Node, path string) {
			p.each(n, path, MaxPrefixes, func(n *yaml.Node, path string) {
				if prefix, ok := p.text(n, path); ok {
					if prefix != "" && sema.ValidateName(prefix) != nil {
						p.fault(n.Line, path, prefix, "the beginning of a name")
					}
					r.names = append(r.names, prefix)
				}
			})
		}},
		section{"rights", func(n *yaml.Node, path string) {
			p.each(n, path, int(rightCount), func(n *yaml.Node, path string) {
				text, ok := p.text(n, path)
				i := slices.Index(rightNames[:], text)
				if ok && i < 0 {
					p.fault(n.Line, path, text, "read, acquire, force or admin")
				} else if ok {
					r.rights = append(r.rights, Right(i))
				}
			})
		}},
	)
	if n.Kind != yaml.MappingNode {
		return
	}
	admin := slices.Contains(r.rights, Admin)
	switch {
	case seen["who"] == 0 || seen["rights"] == 0:
		p.fault(n.Line, path, "", "who and rights")
	case admin && (len(r.rights) > 1 || seen["names"] != 0):
		p.fault(n.Line, path, "admin", "a rule of its own, without names: it is a right on the cluster")
	case !admin && len(r.names) == 0:
		p.fault(n.Line, path, "", `names: the beginnings of names, "" for every name`)
	}
	p.rules = append(p.rules, r)
}

// build applies the rules to the identities, and the defaults.
func (p *parser) build() {
	granted := map[*Identity]*[Admin][]string{}
	for _, id := range p.list {
		p.policy.identities[id.name] = id
		granted[id] = new([Admin][]string)
		id.cluster = p.policy.cluster
		id.limits = id.limits.or(p.limits)
	}
	for _, name := range slices.Sorted(maps.Keys(p.groups)) {
		for _, member := range p.groups[name].members {
			if p.policy.identities[member] == nil {
				p.fault(p.groups[name].line, "groups."+name, member, "identities of this file")
			}
		}
	}
	grants := 0
	for _, r := range p.rules {
		for _, id := range p.whoIs(r) {
			if grants += 1 + len(r.rights)*len(r.names); grants > maxGrants {
				p.fault(r.line, "rules", "", fmt.Sprintf("at most %d rights on beginnings of names, of all identities together", maxGrants))
				return
			}
			for _, right := range r.rights {
				if right == Admin {
					id.admin = true
				} else {
					granted[id][right] = append(granted[id][right], r.names...)
				}
			}
		}
	}
	for _, id := range p.list {
		for right := range Admin {
			id.names[right] = newPrefixes(granted[id][right])
			if n := len(id.names[right]); n > MaxPrefixes {
				p.fault(1, "rules", fmt.Sprintf("%d beginnings of names with the right %v for %s", n, right, id.name), fmt.Sprintf("at most %d", MaxPrefixes))
			}
		}
	}
}

// whoIs returns the identities of a rule.
func (p *parser) whoIs(r rule) []*Identity {
	var all []*Identity
	for i, who := range r.who {
		g, isGroup := p.groups[who]
		switch id := p.policy.identities[who]; {
		case slices.Contains(r.who[:i], who):
			p.fault(r.line, "who", who, "each once")
		case who == everybody:
			all = append(all, p.list...)
		case id != nil:
			all = append(all, id)
		case isGroup:
			for _, name := range g.members {
				if id := p.policy.identities[name]; id != nil {
					all = append(all, id)
				}
			}
		default:
			p.fault(r.line, "who", who, "an identity or a group of this file, or \"*\"")
		}
	}
	return all
}

// or takes what is missing from the defaults.
func (l Limits) or(defaults Limits) Limits {
	pick := func(own *uint32, other uint32) {
		if *own == 0 {
			*own = other
		}
	}
	if l.Requests == 0 && l.Burst == 0 {
		l.Burst = defaults.Burst
	}
	pick(&l.Holds, defaults.Holds)
	pick(&l.Tickets, defaults.Tickets)
	pick(&l.Requests, defaults.Requests)
	pick(&l.Clients, defaults.Clients)
	if l.Burst == 0 { // what it takes in a second
		l.Burst = l.Requests
	}
	return l
}
