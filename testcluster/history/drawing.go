package history

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// around is how many holds before and after those concerned a drawing shows.
	around = 3
	// drawingSteps and drawingPatience bound the search that finds out how far the
	// calls can be put in order.
	drawingSteps    = 200_000
	drawingPatience = 5 * time.Second
)

// drawing writes porcupine's picture of the holds that the ops are about, and of
// those around them, and returns the file's name. It shows each call with its own
// time; ends of holds that nobody saw are in lines of their own.
func (p *puzzle) drawing(dir string, ops []*Op) (string, error) {
	steps, first := p.shown(ops)
	var b budget
	b.left.Store(drawingSteps)
	m := model(first, &b)
	_, info := porcupine.CheckOperationsVerbose(m, inLanes(steps, 2*len(p.moments.times)+2), drawingPatience)
	b.left.Store(1 << 62) // drawing takes the steps of what was found once more
	file := filepath.Join(dir, fileName(p.semaphore.name))
	out, err := os.Create(file)
	if err != nil {
		return "", err
	}
	if err := errors.Join(porcupine.Visualize(m, info, out), out.Close()); err != nil {
		return "", err
	}
	return file, nil
}

// shown are the steps of a drawing, and the state before them.
func (p *puzzle) shown(ops []*Op) (steps []drawn, first state) {
	from, to := len(p.chain.tokens), -1
	concerned := map[*Op]bool{}
	for _, op := range ops {
		concerned[op] = true
		for _, token := range about(op) {
			if i, ok := p.chain.find(token); ok {
				from, to = min(from, i), max(to, i)
			}
		}
	}
	if to < 0 {
		from, to = 0, len(p.chain.tokens)-1
	}
	from, to = max(0, from-around), min(len(p.chain.tokens)-1, to+around)
	begin, end := 0, 0
	if from > 0 {
		before := p.chain.tokens[from-1].token
		first = state{0, before}
		begin = p.chain.grant(from).earliest.at
	}
	before := first.highest
	for i := from; i <= to; i++ {
		g := p.chain.tokens[i]
		grant := drawn{0, never, "service", fmt.Sprintf("token %d is granted to %s", g.token, g.owner), step{stepGrant, g.token, before}}
		if by, ok := p.spans[g.by]; ok {
			grant.from, grant.to, grant.client, grant.text = by.from, by.to, by.Client, by.Op.String()
		}
		ends, _ := p.endsFrom(g)
		over := drawn{max(ends, grant.from), never, "service", fmt.Sprintf("token %d ends", g.token), step{kind: stepEnd, token: g.token}}
		if by, ok := p.spans[p.forced[i]]; ok {
			over.from, over.to, over.client, over.text = by.from, by.to, by.Client, by.Op.String()
		}
		steps = append(steps, grant, over)
		before = g.token
		end = max(end, p.chain.grant(i).earliest.at)
	}
	for op := range concerned {
		end = max(end, p.spans[op].from)
	}
	for _, st := range p.steps {
		i, ok := p.chain.find(st.token)
		if ok && from <= i && i <= to || !ok && begin <= st.from && (st.to <= end || to == len(p.chain.tokens)-1) {
			steps = append(steps, st)
		}
	}
	return steps, first
}

// inLanes makes porcupine's operations. Those that overlap get lanes of their own,
// also of one client: whose outcome is unknown may take effect beside later ones.
func inLanes(steps []drawn, last int) []porcupine.Operation {
	slices.SortStableFunc(steps, func(a, b drawn) int { return cmp.Compare(a.from, b.from) })
	type lane struct {
		client string
		until  int
	}
	var lanes []lane
	operations := make([]porcupine.Operation, len(steps))
	for i, st := range steps {
		st.to = min(st.to, last)
		in := slices.IndexFunc(lanes, func(l lane) bool { return l.client == st.client && l.until < st.from })
		if in < 0 {
			in = len(lanes)
			lanes = append(lanes, lane{client: st.client})
		}
		lanes[in].until = st.to
		operations[i] = porcupine.Operation{ClientId: in, Input: st, Call: int64(st.from), Return: int64(st.to)}
	}
	return operations
}

// maxFileName is how much of a semaphore's name is in that of its drawing.
const maxFileName = 100

// fileName is that of a semaphore's drawing.
func fileName(name string) string {
	text := url.PathEscape(name)
	if len(text) > maxFileName {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(name))
		text = fmt.Sprintf("%s-%x", text[:maxFileName], sum.Sum64())
	}
	return "linearizable-" + text + ".html"
}
