package fsm_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

var update = flag.Bool("update", false, "write what the tests got into testdata as what they want")

// TestStories runs the scripts testdata/*.txt. A script is a series of steps,
// parted by empty lines:
//
//	# What happens, for the reader.
//	batch term=1 clock=5s
//	acquire a owner=x timeout=10s as=c1/1
//	touch a token=1
//	----
//	acquire a: ACQUIRED 1 ...
//	touch a: ...
//
// Above the dashes stands what is done, below them what came of it; go test
// -update writes the latter. The steps are:
//
//   - batch [term=N] [entry=N] [clock=D] [wall=T]: apply an entry with the
//     commands on the lines below. term and clock are those of the batch before
//     unless said otherwise, entry is the term in which raft appended it (the
//     stamp's term), wall the wall clock (12:00:00 at clock 0).
//   - restore: go on with another machine that was restored from a snapshot.
//   - state: tell clock, last token, holds, lines and clients.
//
// A command is a kind, a name and name=value for the rest: owner, timeout,
// token, deadline, and as=client/seq or as=client/seq/lowest-open; and the word
// wait for an acquire that waits in line. What a command grants to the head of a
// line stands in brackets behind its own answer.
//
// Each story is told twice, the second time with a restore before every step,
// which must change nothing.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(script), false)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else {
				wantLines(t, file, string(script), got)
			}
			wantLines(t, file+", restored before every step", got, tell(t, string(script), true))
		})
	}
}

// wantLines points at the first line that differs.
func wantLines(t *testing.T, what, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("%s:%d\nwant %s\ngot  %s", what, i+1, w[i], g[i])
		}
	}
	if len(w) != len(g) {
		t.Fatalf("%s: want %d lines, got %d", what, len(w), len(g))
	}
}

// tell runs a script and returns it with the answers that came.
func tell(t *testing.T, script string, restoring bool) string {
	s := &story{t: t, machine: fsm.New(), term: 1}
	var steps []string
	for step := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		if restoring {
			s.machine = restore(t, snapshotOf(t, s.machine))
		}
		done, _, _ := strings.Cut(step, "\n----")
		var lines []string
		for line := range strings.Lines(done) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			done += strings.TrimRight("\n----\n"+s.step(lines[0], lines[1:]), "\n")
		}
		steps = append(steps, done)
	}
	return strings.Join(steps, "\n\n") + "\n"
}

// story is a script while it is told.
type story struct {
	t       *testing.T
	machine *fsm.Machine
	term    uint64
	clock   time.Duration
}

func (s *story) step(line string, commands []string) string {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "batch":
		return s.batch(s.arguments(rest), commands)
	case "restore":
		s.machine = restore(s.t, snapshotOf(s.t, s.machine))
		return ""
	case "state":
		return s.state()
	}
	s.t.Fatalf("unknown step %q", line)
	return ""
}

func (s *story) batch(args map[string]string, lines []string) string {
	s.term = parse(s, args, "term", s.term, parseUint)
	s.clock = parse(s, args, "clock", s.clock, time.ParseDuration)
	wall := parse(s, args, "wall", founded.Add(s.clock), func(text string) (time.Time, error) {
		clock, err := time.Parse(time.TimeOnly, text)
		return founded.Truncate(24 * time.Hour).Add(clock.Sub(clock.Truncate(24 * time.Hour))), err
	})
	batch := fsm.Batch{Stamp: fsm.Stamp{Term: s.term, Clock: fsm.Time(s.clock), Wall: wall.UnixNano()}}
	for _, line := range lines {
		batch.Commands = append(batch.Commands, s.command(line))
	}
	data, err := fsm.AppendBatch(nil, batch)
	if err != nil {
		s.t.Fatal(err)
	}
	results := apply(s.t, s.machine, &raft.Log{Term: parse(s, args, "entry", s.term, parseUint), Data: data})
	var told strings.Builder
	for i, r := range results {
		words := strings.Fields(lines[i])
		fmt.Fprintf(&told, "%s %s: %s\n", words[0], words[1], tellResult(r))
	}
	return told.String()
}

var kinds = map[string]fsm.Kind{"acquire": fsm.Acquire, "touch": fsm.Touch, "release": fsm.Release,
	"expire": fsm.Expire, "force-release": fsm.ForceRelease, "query": fsm.Query, "cancel": fsm.Cancel}

func (s *story) command(line string) fsm.Command {
	words := strings.SplitN(line, " ", 3)
	kind, known := kinds[words[0]]
	if !known || len(words) < 2 {
		s.t.Fatalf("unknown command %q", line)
	}
	args := s.arguments(strings.Join(words[2:], ""))
	c := fsm.Command{
		Kind:     kind,
		Name:     words[1],
		Owner:    args["owner"],
		Timeout:  parse(s, args, "timeout", 0, time.ParseDuration),
		Token:    parse(s, args, "token", 0, parseUint),
		Deadline: fsm.Time(parse(s, args, "deadline", 0, time.ParseDuration)),
		Wait:     parse(s, args, "wait", false, strconv.ParseBool),
	}
	if as := strings.Split(args["as"], "/"); len(as) > 1 {
		c.Attempt = s.attempt(as)
	}
	return c
}

// attempt reads client/seq or client/seq/lowest-open. Lowest open is seq itself
// unless said otherwise, and 0 for the touch or release of a client that numbers
// none.
func (s *story) attempt(as []string) sema.Attempt {
	args := map[string]string{"seq": as[1], "lowest-open": as[len(as)-1], "client": strings.TrimPrefix(as[0], "c")}
	return sema.Attempt{
		Client:     clientID(byte(parse(s, args, "client", 0, parseUint))),
		Seq:        parse(s, args, "seq", 0, parseUint),
		LowestOpen: parse(s, args, "lowest-open", 0, parseUint),
	}
}

// arguments reads name=value pairs, and wait for wait=true.
func (s *story) arguments(text string) map[string]string {
	args := map[string]string{}
	for _, word := range strings.Fields(text) {
		name, value, ok := strings.Cut(word, "=")
		if word == "wait" {
			value, ok = "true", true
		}
		if !ok {
			s.t.Fatalf("want name=value, got %q", word)
		}
		args[name] = value
	}
	return args
}

func parse[T any](s *story, args map[string]string, name string, otherwise T, parse func(string) (T, error)) T {
	text, given := args[name]
	if !given {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return value
}

func parseUint(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

// tellResult says an answer in one line.
func tellResult(r fsm.Result) string {
	var told []string
	say := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	if r.Err != nil {
		say("%v", r.Err)
	}
	if r.Info.Status != 0 {
		say("%v", r.Info.Status)
	}
	if r.Info.Token != 0 {
		say("%s", tellHold(r.Info))
	}
	if r.Info.Waiting != 0 {
		say("waiting=%d", r.Info.Waiting)
	}
	if r.Deadline != 0 {
		say("deadline=%v", time.Duration(r.Deadline))
	}
	if r.Ticket != 0 {
		say("ticket=%d", r.Ticket)
	}
	if r.Ended != 0 {
		say("ended=%d", r.Ended)
	}
	if g := r.Granted; g != nil {
		say("granted=[%s: %s]", tellAttempt(g.Attempt), tellResult(fsm.Result{Info: g.Info, Deadline: g.Deadline}))
	}
	if len(told) == 0 {
		return "nothing to do"
	}
	return strings.Join(told, " ")
}

func tellHold(i sema.Info) string {
	return fmt.Sprintf("token=%d owner=%s timeout=%v since=%s updated=%s expires=%s",
		i.Token, i.Owner, i.Timeout, shortTime(i.CreatedAt), shortTime(i.UpdatedAt), shortTime(i.ExpiresAt))
}

func tellAttempt(a sema.Attempt) string { return fmt.Sprintf("c%d/%d", a.Client[0], a.Seq) }

func shortTime(t time.Time) string { return t.Format("15:04:05.999") }

// state tells what a snapshot holds, read by the generated decoder.
func (s *story) state() string {
	snapshot := decodeSnapshot(s.t, snapshotOf(s.t, s.machine))
	var b strings.Builder
	fmt.Fprintf(&b, "clock %v, last token %d", time.Duration(snapshot.State.GetClock()), snapshot.State.GetLastToken())
	if last := snapshot.State.GetLastTicket(); last != 0 {
		fmt.Fprintf(&b, ", last ticket %d", last)
	}
	b.WriteString("\n")
	for _, held := range snapshot.Semaphores {
		for _, h := range held.Holders {
			fmt.Fprintf(&b, "hold %s token=%d owner=%s deadline=%v\n", held.Name, h.Token, h.Owner, time.Duration(h.Deadline))
		}
	}
	for _, t := range snapshot.Tickets {
		fmt.Fprintf(&b, "ticket %d %s owner=%s timeout=%v since=%s as=c%d/%d\n", t.Number, t.Name, t.Owner, time.Duration(t.Timeout),
			shortTime(time.Unix(0, t.Since).UTC()), t.Client[0], t.Seq)
	}
	for _, c := range snapshot.Clients {
		age := [...]string{"heard of", "silent"}[c.Generation]
		fmt.Fprintf(&b, "client c%d %s, lowest open %d", c.Id[0], age, c.LowestOpen)
		for _, o := range c.Outcomes {
			fmt.Fprintf(&b, ", %d %v", o.Seq, sema.Status(o.Status))
		}
		b.WriteString("\n")
	}
	return b.String()
}
