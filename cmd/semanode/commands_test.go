package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// startDev starts semanode dev and returns its endpoints, for --endpoints.
func startDev(t testing.TB, args ...string) (p *process, endpoints string) {
	t.Helper()
	p = start(t, append([]string{"dev"}, args...)...)
	p.says("release printer --force")
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^  n\d  (\S+)$`).FindAllStringSubmatch(p.stdout.String(), -1) {
		all = append(all, m[1])
	}
	return p, strings.Join(all, ",")
}

// shell runs commands against one cluster.
type shell struct {
	t         testing.TB
	endpoints string
}

func (s shell) run(args ...string) result {
	s.t.Helper()
	return semanode(s.t, append(args, "--endpoints", s.endpoints)...)
}

// json runs a command with --output json and returns its code and its answer,
// which must be one object on one line.
func (s shell) json(args ...string) (int, map[string]any) {
	s.t.Helper()
	r := s.run(append(args, "--output", "json")...)
	var answer map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &answer); err != nil || strings.Count(r.stdout, "\n") != 1 {
		s.t.Fatalf("semanode %s printed no JSON on one line: %q, %q", strings.Join(args, " "), r.stdout, r.stderr)
	}
	return r.code, answer
}

// want checks what a command answered, field by field; of a *regexp.Regexp the
// text must match. No field may be missing or too many.
func (s shell) want(code int, answer map[string]any, args ...string) map[string]any {
	s.t.Helper()
	gotCode, got := s.json(args...)
	command := "semanode " + strings.Join(args, " ")
	if gotCode != code {
		s.t.Errorf("%s exits with %d, want %d: %v", command, gotCode, code, got)
	}
	if gotKeys, keys := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(answer)); !slices.Equal(gotKeys, keys) {
		s.t.Errorf("%s answers with the fields %v, want %v", command, gotKeys, keys)
	}
	for key, want := range answer {
		switch want := want.(type) {
		case *regexp.Regexp:
			if text, ok := got[key].(string); !ok || !want.MatchString(text) {
				s.t.Errorf("%s: %s is %v, want a text like %s", command, key, got[key], want)
			}
		default:
			if got[key] != want {
				s.t.Errorf("%s: %s is %v, want %v", command, key, got[key], want)
			}
		}
	}
	return got
}

var (
	anyToken = regexp.MustCompile(`^[1-9]\d*$`)
	anyTime  = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
)

// hold is the answer that describes a hold. Only the caller's own has a "token".
func hold(status sema.Status, name, owner, timeout string, token any) map[string]any {
	whose := "holderToken"
	if status == sema.Acquired {
		whose = "token"
	}
	return map[string]any{"status": status.String(), "name": name, "owner": owner, "timeout": timeout, whose: token,
		"expiresAt": anyTime, "createdAt": anyTime, "updatedAt": anyTime, "waiting": 0.0}
}

func refusalOf(name, text string) map[string]any {
	return map[string]any{"name": name, "error": regexp.MustCompile(regexp.QuoteMeta(text))}
}

// The commands, as people and scripts use them, against a cluster of three.
func TestCommands(t *testing.T) {
	t.Parallel()
	_, endpoints := startDev(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, sh shell)
	}{
		{"a hold and its end", testHold},
		{"an overdue hold", testOverdue},
		{"an answer that cannot be printed", testUnprinted},
		{"by force", testForce},
		{"texts for people", testTexts},
		{"list", testList},
		{"in line", testInLine},
		{"status", testStatus},
		{"where the endpoints are", testEndpoints},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, shell{t, endpoints}) })
	}
}

func testHold(t *testing.T, sh shell) {
	mine := sh.want(exitDone, hold(sema.Acquired, "a", "alice", "1m0s", anyToken), "acquire", "a", "--owner", "alice", "--timeout", "1m")
	token := mine["token"].(string)
	for _, owner := range []string{"bob", "alice"} { // the same owner is somebody else
		sh.want(exitOtherwise, hold(sema.OwnedBySomeoneElse, "a", "alice", "1m0s", token), "acquire", "a", "--owner", owner)
	}
	sh.want(exitDone, hold(sema.OwnedBySomeoneElse, "a", "alice", "1m0s", token), "get", "a")
	eventually(t, "the node that is asked first has caught up", func() bool {
		code, _ := sh.json("get", "a", "--stale")
		return code == exitDone
	})

	touched := sh.want(exitDone, hold(sema.Acquired, "a", "alice", "1m0s", token), "touch", "a", "--token", token)
	if before, after := parseTime(t, mine["expiresAt"]), parseTime(t, touched["expiresAt"]); !after.After(before) {
		t.Errorf("a touch moved the deadline from %v to %v", before, after)
	}
	if mine["createdAt"] != touched["createdAt"] || mine["updatedAt"] == touched["updatedAt"] {
		t.Errorf("a touch made %v of %v", touched, mine)
	}
	sh.want(exitOtherwise, refusalOf("a", `token 999999 does not hold "a" any more: stop the work`), "touch", "a", "--token", "999999")
	sh.want(exitOtherwise, refusalOf("a", `token 999999 does not hold "a" any more: somebody else does`), "release", "a", "--token", "999999")

	sh.want(exitDone, map[string]any{"name": "a", "token": token, "released": true}, "release", "a", "--token", token)
	sh.want(exitDone, map[string]any{"name": "a", "token": token, "released": false}, "release", "a", "--token", token)
	sh.want(exitOtherwise, refusalOf("a", `nobody holds "a"`), "get", "a")
	sh.want(exitOtherwise, refusalOf("a", `token `+token), "touch", "a", "--token", token)

	other := sh.want(exitDone, hold(sema.Acquired, "a", "bob", "30s", anyToken), "acquire", "a", "--owner", "bob")
	if parseToken(t, other) <= parseToken(t, mine) {
		t.Errorf("token %v came after token %v", other["token"], mine["token"])
	}
	sh.want(exitOtherwise, refusalOf("a", "somebody else"), "release", "a", "--token", token)
}

func testOverdue(t *testing.T, sh shell) {
	_, gone := sh.json("acquire", "o", "--owner", "alice", "--timeout", "100ms")
	var ended map[string]any
	eventually(t, "the hold is overdue and an acquire ends it", func() bool {
		var code int
		code, ended = sh.json("acquire", "o", "--owner", "bob")
		return code != exitOtherwise || ended["status"] != sema.OwnedBySomeoneElse.String()
	})
	if ended["status"] != sema.ForcedReleased.String() || ended["owner"] != "alice" || ended["holderToken"] != gone["token"] {
		t.Errorf("the acquire after %v answers %v", gone, ended)
	}
	sh.want(exitOtherwise, refusalOf("o", "nobody holds"), "get", "o") // free, not bob's
	sh.want(exitDone, hold(sema.Acquired, "o", "bob", "30s", anyToken), "acquire", "o", "--owner", "bob")
}

// A hold whose token nobody got to see is not kept, whether the disk is full or the
// reader of the pipe has gone.
func testUnprinted(t *testing.T, sh shell) {
	p := prepare(t, nil, nil, "acquire", "u", "--endpoints", sh.endpoints)
	p.cmd.Stdout = brokenPipe(t)
	p.begin()
	contains(t, p.result().fault(t, exitFailed), "could not be printed", `"u" was acquired, and is released again`)
	sh.want(exitOtherwise, refusalOf("u", "nobody holds"), "get", "u")

	held := sh.want(exitDone, hold(sema.Acquired, "u", "alice", "30s", anyToken), "acquire", "u", "--owner", "alice")
	p = prepare(t, nil, nil, "acquire", "u", "--endpoints", sh.endpoints)
	p.cmd.Stdout = brokenPipe(t)
	p.begin()
	contains(t, p.result().fault(t, exitFailed), "could not be printed")
	sh.want(exitDone, hold(sema.OwnedBySomeoneElse, "u", "alice", "30s", held["token"]), "get", "u")
}

func testForce(t *testing.T, sh shell) {
	sh.want(exitOtherwise, refusalOf("f", `nobody holds "f"`), "release", "f", "--force")
	_, first := sh.json("acquire", "f", "--owner", "alice")
	token := first["token"].(string)
	sh.want(exitOtherwise, refusalOf("f", "nothing was changed"), "release", "f", "--force", "--token", "999999")
	sh.want(exitDone, hold(sema.ForcedReleased, "f", "alice", "30s", token), "release", "f", "--force")
	sh.want(exitOtherwise, refusalOf("f", "stop the work"), "touch", "f", "--token", token)

	_, second := sh.json("acquire", "f", "--owner", "bob")
	sh.want(exitOtherwise, refusalOf("f", "nothing was changed"), "release", "f", "--force", "--token", token)
	sh.want(exitDone, hold(sema.ForcedReleased, "f", "bob", "30s", second["token"]), "release", "f", "--force", "--token", second["token"].(string))
}

func testTexts(t *testing.T, sh shell) {
	text := sh.run("acquire", "t t", "--timeout", "1m").ok(t)
	match := regexp.MustCompile(`^status:   ACQUIRED
name:     t t
owner:    \S+@\S+:\d+
timeout:  1m0s
token:    (\d+)
expires:  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ
created:  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ
updated:  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ
$`).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("acquire printed\n%s", text)
	}
	token := match[1]
	refused := sh.run("acquire", "t t", "--owner", "bob")
	if refused.code != exitOtherwise || refused.stderr != "" || !strings.HasPrefix(refused.stdout, "status:          OWNED_BY_SOMEONE_ELSE\n") ||
		strings.Contains(refused.stdout, "\ntoken:") {
		t.Errorf("acquire of what is held: %+v", refused)
	}
	contains(t, sh.run("get", "t t").ok(t), "\nholder's token:  "+token+"\n")
	contains(t, sh.run("touch", "t t", "--token", token).ok(t), "status:   ACQUIRED\n")
	for want, args := range map[string][]string{
		`token 999999 does not hold "t t" any more: stop the work that it stood for`: {"touch", "t t", "--token", "999999"},
		`token 999999 does not hold "t t" any more: somebody else does`:              {"release", "t t", "--token", "999999"},
		`nobody holds "nothing"`: {"get", "nothing"},
	} {
		r := sh.run(args...)
		if line := r.fault(t, exitOtherwise); line != want || r.stdout != "" {
			t.Errorf("semanode %v: %q on stderr, %q on stdout", args, line, r.stdout)
		}
	}
	contains(t, sh.run("list", "t").ok(t), "NAME  OWNER", "\nt t   ")
	if got := sh.run("release", "t t", "--token", token).ok(t); got != "\"t t\" released\n" {
		t.Errorf("release printed %q", got)
	}
	if got := sh.run("release", "t t", "--token", token).ok(t); got != "\"t t\" was free already\n" {
		t.Errorf("release again printed %q", got)
	}
	if got := sh.run("list", "t").ok(t); got != "NAME  OWNER  TOKEN  TIMEOUT  EXPIRES  WAITING\n" {
		t.Errorf("list of nothing printed %q", got)
	}
	contains(t, sh.run("release", "nothing", "--force").fault(t, exitOtherwise), `nobody holds "nothing"`)
}

func testList(t *testing.T, sh shell) {
	if r := sh.run("list", "page/", "-o", "json"); r.ok(t) != `{"semaphores":[]}`+"\n" {
		t.Errorf("list of nothing printed %q", r.stdout)
	}
	c, err := client.New(client.Config{Endpoints: strings.Split(sh.endpoints, ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const holds, pageSize, workers = 1100, 1000, 16
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < holds; i += workers {
				info, err := c.Acquire(within(t), fmt.Sprintf("page/%04d", i), "alice", time.Hour)
				if err != nil || info.Status != sema.Acquired {
					t.Errorf("acquire: %v, %v", info, err)
				}
			}
		})
	}
	wg.Wait()
	_, answer := sh.json("list", "page/")
	all := answer["semaphores"].([]any)
	for i, item := range all {
		if name := item.(map[string]any)["name"]; name != fmt.Sprintf("page/%04d", i) {
			t.Fatalf("the name at %d is %v", i, name)
		}
	}
	if len(all) != holds {
		t.Errorf("listed %d of %d", len(all), holds)
	}
	if lines := strings.Count(sh.run("list", "page/1").ok(t), "\n"); lines != 1+holds-pageSize {
		t.Errorf("listed %d lines below the heading, want %d", lines-1, holds-pageSize)
	}
	eventually(t, "the node that is asked first has caught up", func() bool {
		_, answer := sh.json("list", "page/1099", "--stale")
		return len(answer["semaphores"].([]any)) == 1
	})
}

// Acquire waits if it is told to, and the others show who waits.
func testInLine(t *testing.T, sh shell) {
	_, first := sh.json("acquire", "line/q", "--owner", "alice")
	began := time.Now()
	sh.want(exitOtherwise, heldWaiting(first, 0), "acquire", "line/q", "--owner", "bob", "--wait", "300ms")
	if took := time.Since(began); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("waited for %v", took)
	}
	p := start(t, "acquire", "line/q", "--owner", "carol", "--wait", "1m", "--endpoints", sh.endpoints, "-o", "json")
	p.complains(`"line/q" is held by alice since 20`)
	p.complains("; waiting in line, number 1")
	for _, command := range []string{"get", "list"} {
		contains(t, sh.run(command, "line/q").ok(t), "alice", "\n  1.  ", "carol", "since 20")
		if text := sh.run(command, "line/q", "--line", "0").ok(t); strings.Contains(text, "carol") {
			t.Errorf("%s --line 0 shows the line:\n%s", command, text)
		}
	}
	_, shown := sh.json("get", "line/q")
	line, _ := shown["line"].([]any)
	if len(line) != 1 || shown["waiting"] != 1.0 || line[0].(map[string]any)["owner"] != "carol" || line[0].(map[string]any)["position"] != 1.0 {
		t.Errorf("get shows %v", shown)
	}
	sh.run("release", "line/q", "--token", first["token"].(string)).ok(t)
	granted := p.result()
	if contains(t, granted.stdout, `"status":"ACQUIRED"`, `"owner":"carol"`); granted.code != exitDone {
		t.Errorf("in its turn: %+v", granted)
	}

	ctrlC := start(t, "acquire", "line/q", "--owner", "dave", "--wait", "1m", "--endpoints", sh.endpoints)
	ctrlC.complains("waiting in line")
	ctrlC.signal(syscall.SIGINT)
	if got := ctrlC.result(); got.code != exitFailed {
		t.Errorf("interrupted in line: %+v", got)
	}
	if _, shown := sh.json("get", "line/q"); shown["waiting"] != 0.0 {
		t.Errorf("after Ctrl-C get shows %v", shown)
	}
	contains(t, sh.run("acquire", "line/q", "--wait", "-1s").fault(t, exitUsage), "invalid wait")
	contains(t, sh.run("get", "line/q", "--line", "1001").fault(t, exitUsage), "line", "1001")
}

// heldWaiting is the answer of a wait in vain for a hold that another answer tells of.
func heldWaiting(held map[string]any, waiting float64) map[string]any {
	answer := hold(sema.OwnedBySomeoneElse, held["name"].(string), held["owner"].(string), held["timeout"].(string), held["token"])
	answer["waiting"] = waiting
	return answer
}

func testStatus(t *testing.T, sh shell) {
	_, answer := sh.json("status")
	if keys := slices.Sorted(maps.Keys(answer)); !slices.Equal(keys, []string{"clusterId", "commitIndex", "nodes", "term"}) {
		t.Errorf("status answers with the fields %v", keys)
	}
	leaders := 0
	for i, item := range answer["nodes"].([]any) {
		node := item.(map[string]any)
		if keys := slices.Sorted(maps.Keys(node)); !slices.Equal(keys, []string{"appliedIndex", "commitIndex", "grpcAddr", "id", "leader", "raftAddr", "state", "term"}) {
			t.Errorf("a node has the fields %v", keys)
		}
		if node["id"] != localID(i) || node["grpcAddr"] != strings.Split(sh.endpoints, ",")[i] || node["raftAddr"] == "" {
			t.Errorf("node %d is %v", i, node)
		}
		if node["leader"] == true {
			leaders++
			if node["state"] != "leader" || node["term"] != answer["term"] || answer["term"].(float64) < 1 || answer["commitIndex"].(float64) < 1 {
				t.Errorf("the leader is %v in %v", node, answer)
			}
		}
	}
	if len(answer["nodes"].([]any)) != 3 || leaders != 1 {
		t.Errorf("%d leaders among %v", leaders, answer["nodes"])
	}
	contains(t, sh.run("status").ok(t), "cluster "+answer["clusterId"].(string)+"\n\n", "ID  STATE     TERM", "\nn3  ", "leader  ", "follower  ")
}

func testEndpoints(t *testing.T, sh shell) {
	first, _, _ := strings.Cut(sh.endpoints, ",")
	env := []string{endpointsEnv + "=" + first}
	if got := startEnv(t, env, "get", "nothing").result(); got.code != exitOtherwise {
		t.Errorf("with the endpoint in the environment: %+v", got)
	}
	dead := freeAddr()
	// A flag counts more than the environment, and one node that lives is enough.
	if got := startEnv(t, []string{endpointsEnv + "=" + dead}, "get", "nothing", "--endpoints", dead+", "+first).result(); got.code != exitOtherwise {
		t.Errorf("with a dead endpoint beside a live one: %+v", got)
	}
	began := time.Now()
	line := semanode(t, "acquire", "a", "--endpoints", dead, "--rpc-timeout", "300ms").fault(t, exitFailed)
	contains(t, line, "no leader", dead)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

// Ctrl-C ends a command that waits, at once.
func TestInterruptedCommand(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := start(t, "get", "a", "--endpoints", silent.Addr().String(), "--rpc-timeout", "1h")
	conn, err := silent.Accept() // it waits from here on
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	p.signal(syscall.SIGINT)
	contains(t, p.result().fault(t, exitFailed), "interrupted")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ended %v after Ctrl-C", took)
	}
}

func parseTime(t testing.TB, v any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, v.(string))
	if err != nil {
		t.Error(err)
	}
	return at
}

func parseToken(t testing.TB, answer map[string]any) uint64 {
	t.Helper()
	token, err := strconv.ParseUint(answer["token"].(string), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return token
}
