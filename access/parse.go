package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/semanode/sema"
)

// Bounds of an access file.
const (
	MaxFileBytes     = 1 << 20
	MaxIdentities    = 4096
	MaxIdentityBytes = 64   // of a name; it travels in the log
	MaxPrefixes      = 1024 // of an identity and a right; they travel with a List
	maxTokens        = 16   // of an identity: one that is used, one that comes, and room
	maxFaults        = 100  // that are reported
	maxGrants        = 1 << 20
)

// Parse reads an access file. The error has every fault, joined; each is a
// [sema.InvalidError] whose field begins with the line.
func Parse(data []byte) (*Policy, error) {
	if len(data) > MaxFileBytes {
		return nil, &sema.InvalidError{Field: "access file", Value: strconv.Itoa(len(data)) + " bytes or more", Limit: "at most 1 MiB"}
	}
	root, err := document(data)
	if err != nil {
		return nil, err
	}
	p := &parser{groups: map[string]group{}, names: map[string]string{}, holders: map[certName]string{}, hashes: map[Hash]string{},
		policy: &Policy{identities: map[string]*Identity{}, byToken: map[uint64][]secret{}, byName: map[certName]*Identity{}}}
	p.file(root)
	if p.faults != nil {
		return nil, errors.Join(p.faults...)
	}
	p.build()
	if p.faults != nil {
		return nil, errors.Join(p.faults...)
	}
	return p.policy, nil
}

// document returns the one document of a file, nil if it is empty.
func document(data []byte) (*yaml.Node, error) {
	invalid := func(err string) error {
		return &sema.InvalidError{Field: "access file", Value: err, Limit: "one YAML document, see docs/access.md"}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, invalid(strings.TrimPrefix(err.Error(), "yaml: "))
	case len(doc.Content) != 1:
		return nil, invalid("no content")
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, invalid("a second document")
	}
	return doc.Content[0], nil
}

// parser reads a file and notes its faults.
type parser struct {
	policy *Policy
	faults []error
	groups map[string]group
	rules  []rule
	// who has what must be unique: identities and groups, names in certificates, hashes.
	names   map[string]string
	holders map[certName]string
	hashes  map[Hash]string
	list    []*Identity // in the order of the file
	limits  Limits      // of those who have none of their own
}

// group is a name for identities.
type group struct {
	line    int
	members []string
}

// rule gives rights.
type rule struct {
	line   int
	who    []string
	names  []string
	rights []Right
}

func (p *parser) fault(line int, path, value, limit string) {
	if len(p.faults) == maxFaults {
		return
	}
	if len(value) > 128 {
		value = value[:128] + "..."
	}
	p.faults = append(p.faults, &sema.InvalidError{Field: fmt.Sprintf("line %d: %s", line, path), Value: value, Limit: limit})
}

// section reads one key of a mapping.
type section struct {
	key  string
	read func(n *yaml.Node, path string)
}

// mapping reads a mapping whose keys are these. It notes the line of each that is there.
func (p *parser) mapping(n *yaml.Node, path string, sections ...section) (seen map[string]int) {
	seen = map[string]int{}
	if n.Kind != yaml.MappingNode {
		p.fault(n.Line, path, kindOf(n), "a mapping")
		return seen
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(sections, func(s section) bool { return s.key == key.Value && key.Kind == yaml.ScalarNode })
		switch {
		case at < 0:
			p.fault(key.Line, path, key.Value, "a key that is known here"+nearest(key.Value, sections))
		case seen[key.Value] != 0:
			p.fault(key.Line, join(path, key.Value), key.Value, fmt.Sprintf("each key once: it is on line %d too", seen[key.Value]))
		default:
			seen[key.Value] = key.Line
			sections[at].read(value, join(path, key.Value))
		}
	}
	return seen
}

func join(path, key string) string {
	if path == "access file" {
		return key
	}
	return path + "." + key
}

// each visits the elements of a sequence.
func (p *parser) each(n *yaml.Node, path string, most int, visit func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		p.fault(n.Line, path, kindOf(n), "a list")
		return
	}
	if len(n.Content) > most {
		p.fault(n.Line, path, fmt.Sprintf("%d elements", len(n.Content)), fmt.Sprintf("at most %d", most))
		return
	}
	for i, element := range n.Content {
		visit(element, fmt.Sprintf("%s[%d]", path, i))
	}
}

// text reads a string. A number or a yes is none: whoever means a string can say so.
func (p *parser) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		p.fault(n.Line, path, kindOf(n), "a text, in quotes if it looks like something else")
		return "", false
	}
	if !utf8.ValidString(n.Value) {
		p.fault(n.Line, path, "(not UTF-8)", "UTF-8")
		return "", false
	}
	return n.Value, true
}

// texts reads a list of strings.
func (p *parser) texts(n *yaml.Node, path string, most int, to *[]string) {
	p.each(n, path, most, func(n *yaml.Node, path string) {
		if s, ok := p.text(n, path); ok {
			*to = append(*to, s)
		}
	})
}

// number reads a limit.
func (p *parser) number(to *uint32) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		v, err := strconv.ParseUint(n.Value, 10, 32)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || v == 0 {
			p.fault(n.Line, path, n.Value, "a whole number from 1 to 4294967295; leave the key out for no limit")
			return
		}
		*to = uint32(v)
	}
}

// kindOf tells what a node is instead of what it should be.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "*" + n.Value + ", an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return n.Value
}

// nearest names the key that was meant, or all of them.
func nearest(key string, sections []section) string {
	best, least := "", len(key)/2+1
	var all []string
	for _, s := range sections {
		all = append(all, s.key)
		if d := distance(key, s.key); d < least {
			best, least = s.key, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": " + strings.Join(all, ", ")
}

// distance is how many characters have to be changed, put in or left out (Levenshtein).
// Of a key that is much longer than all that are known it is enough to know that.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
