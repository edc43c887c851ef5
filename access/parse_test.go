package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

// hash is one that no token in a test has.
func hash(i int) string { return fmt.Sprintf("sha256:%064x", i) }

const example = `
identities:
  - name: billing
    certificate:
      cn: [billing]
      dns: [billing.example.com]
      uri: ["spiffe://example.com/billing"]
    limits: {holds: 100, tickets: 10, requests-per-second: 50, clients: 20}
  - name: shipping
    tokens:
      - "sha256:0000000000000000000000000000000000000000000000000000000000000001"
      - "sha256:0000000000000000000000000000000000000000000000000000000000000002"
  - name: operator
    tokens: ["sha256:0000000000000000000000000000000000000000000000000000000000000003"]
  - name: nobody
    tokens: ["sha256:0000000000000000000000000000000000000000000000000000000000000004"]
groups:
  services: [billing, shipping]
rules:
  - {who: [billing], names: ["billing/"], rights: [read, acquire]}
  - {who: [services], names: ["shared/", "shared/deeper/", "public"], rights: [acquire]}
  - {who: ["*"], names: ["public"], rights: [read]}
  - {who: [operator], names: [""], rights: [read, force]}
  - {who: [operator], rights: [admin]}
limits: {holds: 1000, requests-per-second: 200, burst: 400, clients: 40}
cluster: {holds: 5000, names: 4000}
`

func parse(t testing.TB, text string) *access.Policy {
	t.Helper()
	p, err := access.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRights is the table of who may do what by the example.
func TestRights(t *testing.T) {
	p := parse(t, example)
	for _, tc := range []struct {
		who   string
		right access.Right
		name  string
		may   bool
	}{
		{"billing", access.Read, "billing/1", true},
		{"billing", access.Acquire, "billing/", true},
		{"billing", access.Acquire, "billing", false}, // shorter than the prefix
		{"billing", access.Acquire, "billinh/", false},
		{"billing", access.Acquire, "", false},
		{"billing", access.Force, "billing/1", false},
		{"billing", access.Admin, "billing/1", false},
		{"billing", access.Acquire, "shared/x", true}, // by its group
		{"billing", access.Acquire, "shared/deeper/x", true},
		{"billing", access.Acquire, "shared/zzz", true}, // behind a deeper prefix
		{"billing", access.Read, "shared/x", false},
		{"billing", access.Read, "public", true}, // as everybody
		{"shipping", access.Acquire, "public/1", true},
		{"shipping", access.Acquire, "billing/1", false},
		{"nobody", access.Read, "publicly", true},
		{"nobody", access.Acquire, "public", false},
		{"operator", access.Read, "billing/1", true}, // every name
		{"operator", access.Force, "", true},
		{"operator", access.Acquire, "billing/1", false}, // no right has another one in it
		{"operator", access.Admin, "", true},
		{"operator", access.Right(17), "", false},
	} {
		err := p.ByName(tc.who).May(tc.right, tc.name)
		if (err == nil) != tc.may || err != nil && !errors.Is(err, sema.ErrDenied) {
			t.Errorf("%s may %v on %q: %v, want %v", tc.who, tc.right, tc.name, err, tc.may)
		}
	}
	for who, may := range map[string]bool{"billing": true, "nobody": false} {
		if err := p.ByName(who).MayAnywhere(access.Acquire); (err == nil) != may {
			t.Errorf("%s may acquire anywhere: %v", who, err)
		}
	}
}

func TestWithin(t *testing.T) {
	p := parse(t, `
identities: [{name: a, tokens: ["`+hash(1)+`"]}]
rules: [{who: [a], names: ["b/", "a/x", "a/y/", "a/x/z", "c"], rights: [read]}]`)
	for prefix, want := range map[string]string{
		"":       "a/x b/ c a/y/",
		"a/":     "a/x a/y/",
		"a/x":    "a/x",
		"a/x/zz": "a/x/zz",
		"b":      "b/",
		"b/c":    "b/c",
		"d":      "",
		"a/w":    "",
	} {
		got, err := p.ByName("a").Within(access.Read, prefix)
		wanted := strings.Fields(want)
		same := len(got) == len(wanted)
		for _, w := range wanted {
			same = same && strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ")
		}
		if !same || (err == nil) != (len(wanted) > 0) {
			t.Errorf("within %q: %q, %v, want %q", prefix, got, err, wanted)
		}
	}
}

func TestLimits(t *testing.T) {
	p := parse(t, example)
	if got, want := p.ByName("billing").Limits(), (access.Limits{Holds: 100, Tickets: 10, Requests: 50, Burst: 50, Clients: 20}); got != want {
		t.Errorf("billing: %+v, want %+v", got, want)
	}
	if got, want := p.ByName("shipping").Limits(), (access.Limits{Holds: 1000, Requests: 200, Burst: 400, Clients: 40}); got != want {
		t.Errorf("shipping: %+v, want the defaults %+v", got, want)
	}
	if got, want := p.ByName("billing").Cluster(), (access.ClusterLimits{Holds: 5000, Names: 4000}); got != want {
		t.Errorf("cluster: %+v, want %+v", got, want)
	}
}

// TestCounts: of requests each node keeps count by itself.
func TestCounts(t *testing.T) {
	const some = "rules: [{who: [a], rights: [admin]}]\nidentities: [{name: a, tokens: [\"sha256:0000000000000000000000000000000000000000000000000000000000000001\"]"
	for end, want := range map[string]bool{
		"}]":                                   false,
		", limits: {requests-per-second: 5}}]": false,
		", limits: {tickets: 5}}]":             true,
		"}]\nlimits: {holds: 5}":               true,
		"}]\ncluster: {names: 5}":              true,
	} {
		if got := parse(t, some+end).Counts(); got != want {
			t.Errorf("%s: %v, want %v", end, got, want)
		}
	}
}

// TestFaults: each is told with its line, and all at once.
func TestFaults(t *testing.T) {
	const some = "identities: [{name: a, tokens: [\"sha256:0000000000000000000000000000000000000000000000000000000000000001\"]}]\n"
	const rules = "rules: [{who: [a], rights: [admin]}]\n"
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":            {"", []string{"lock everybody out"}},
		"a comment":        {"# nothing\n", []string{"lock"}},
		"not YAML":         {"a: [", []string{"one YAML document"}},
		"two documents":    {some + rules + "---\na: 1\n", []string{"a second document"}},
		"a list":           {"[]", []string{"want a mapping"}},
		"no rules":         {some, []string{"line 1: rules"}},
		"unknown key":      {some + "rulez: []\n" + rules, []string{`line 2: access file "rulez"`, `did you mean "rules"?`}},
		"unknown and far":  {some + rules + "xxxxxxxx: []\n", []string{"identities, groups, rules, limits, cluster"}},
		"a key twice":      {some + rules + rules, []string{"line 3", "on line 2 too"}},
		"an alias":         {"identities: &x [{name: a, tokens: [\"" + hash(1) + "\"]}]\nrules: *x\n", []string{"an alias", "want a list"}},
		"no name":          {"identities: [{tokens: [\"" + hash(1) + "\"]}]\nrules: []\n", []string{"identities[0].name"}},
		"a bad name":       {"identities: [{name: \"a b\", tokens: [\"" + hash(1) + "\"]}]\nrules: []\n", []string{"1 to 64"}},
		"a name twice":     {"identities:\n- {name: a, tokens: [\"" + hash(1) + "\"]}\n- {name: a, tokens: [\"" + hash(2) + "\"]}\nrules: []\n", []string{"line 3: identities[1].name"}},
		"nobody can be it": {"identities: [{name: a}]\nrules: []\n", []string{"nobody could be"}},
		"a hash twice":     {"identities:\n- {name: a, tokens: [\"" + hash(1) + "\"]}\n- {name: b, tokens: [\"" + hash(1) + "\"]}\nrules: []\n", []string{"each token once"}},
		"a token itself":   {"identities: [{name: a, tokens: [\"" + string(access.NewToken()) + "\"]}]\nrules: []\n", []string{"(not shown)", "withdraw it"}},
		"no hash":          {"identities: [{name: a, tokens: [\"sha256:12\"]}]\nrules: []\n", []string{"64 digits"}},
		"a number":         {"identities: [{name: 12, tokens: []}]\nrules: []\n", []string{"in quotes"}},
		"who is unknown":   {some + "rules:\n- {who: [b], names: [x], rights: [read]}\n", []string{`line 3: who "b"`}},
		"group of unknown": {some + "groups: {g: [b]}\n" + rules, []string{"groups.g", `"b"`}},
		"group as who":     {some + "groups: {a: [a]}\n" + rules, []string{"an identity with it already"}},
		"unknown right":    {some + "rules: [{who: [a], names: [x], rights: [write]}]\n", []string{"read, acquire, force or admin"}},
		"no names":         {some + "rules: [{who: [a], rights: [read]}]\n", []string{"for every name"}},
		"admin of names":   {some + "rules: [{who: [a], names: [x], rights: [admin]}]\n", []string{"a rule of its own"}},
		"admin with more":  {some + "rules: [{who: [a], rights: [admin, read]}]\n", []string{"a rule of its own"}},
		"no prefix":        {some + "rules: [{who: [a], names: [\"a\\nb\"], rights: [read]}]\n", []string{"the beginning of a name"}},
		"limit 0":          {some + rules + "limits: {holds: 0}\n", []string{"line 3: limits.holds", "no limit"}},
		"limit -1":         {some + rules + "limits: {holds: -1}\n", []string{"whole number"}},
		"limit of a kind":  {some + rules + "cluster: {tickets: 1}\n", []string{`"tickets"`}},
		"client":           {some + rules + "limits: {client: 1}\n", []string{`line 3: limits "client"`, `did you mean "clients"?`}},
		"no clients":       {some + rules + "limits: {clients: 0}\n", []string{"line 3: limits.clients", "no limit"}},
		"clients of all":   {some + rules + "cluster: {clients: 1}\n", []string{`line 3: cluster "clients"`}},
		"burst alone":      {some + rules + "limits: {burst: 1}\n", []string{"requests-per-second beside it"}},
		"all at once": {some + "rulez: 1\nlimits: {hold: 1}\nrules: [{who: [a], names: [x], rights: [reed]}]\n",
			[]string{"line 2", "line 3", "line 4"}},
	} {
		_, err := access.Parse([]byte(tc.text))
		if err == nil || !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "sema_") && name == "a token itself" && strings.Count(err.Error(), "sema_") > 1 {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	if _, err := access.Parse(make([]byte, access.MaxFileBytes+1)); err == nil {
		t.Error("a large file was read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("identities: &x [{name: a}]\nrules: *x\n"))
	f.Add([]byte("limits: {holds: 0x10, burst: 1_0}\nrules: [[[[]]]]\n<<: {a: b}\n"))
	f.Add([]byte("? [a, b]\n: c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := access.Parse(data)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v and %v", p, err)
		}
		if err != nil && !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
