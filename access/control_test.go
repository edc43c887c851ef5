package access_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rulesFor is a file in which an identity may read what begins with a prefix.
func rulesFor(prefix string) string {
	return `
identities: [{name: a, tokens: ["` + hash(1) + `"], limits: {requests-per-second: 10, burst: 3}}]
rules: [{who: [a], names: ["` + prefix + `"], rights: [read]}]
`
}

// log is what was logged.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns the lines since the last take.
func (l *log) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(l.buf.String())
	l.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// settle is how long a file of these tests must stay as it is.
const settle = time.Millisecond

func open(t *testing.T, file string, every time.Duration) (*access.Control, *log) {
	t.Helper()
	l := new(log)
	c, err := access.Open(access.Config{File: file, Every: every, Settle: settle, Logger: hclog.New(&hclog.LoggerOptions{Output: l})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, l
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reads(c *access.Control, name string) bool {
	return c.Policy().ByName("a").May(access.Read, name) == nil
}

// TestReload: what the file says counts, and what is wrong with it is said once.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yaml")
	write(t, file, rulesFor("x"))
	c, log := open(t, file, time.Hour)
	changes := 0
	stop := c.OnChange(func() { changes++ })
	expect := func(step, name string, lines, wantChanges int, wantErr bool) {
		t.Helper()
		if err := c.Reload(); (err != nil) != wantErr {
			t.Errorf("%s: %v", step, err)
		}
		if got := log.take(); len(got) != lines {
			t.Errorf("%s: logged %q, want %d lines", step, got, lines)
		}
		if !reads(c, name) || changes != wantChanges {
			t.Errorf("%s: %s may be read: %v, %d changes, want %d", step, name, reads(c, name), changes, wantChanges)
		}
	}
	expect("the same", "x", 0, 0, false)
	write(t, file, rulesFor("y"))
	expect("another", "y", 1, 1, false)
	write(t, file, "rules: nonsense")
	expect("a bad one", "y", 1, 1, true)
	expect("the bad one again", "y", 0, 1, true)
	write(t, file, rulesFor("z"))
	expect("corrected", "z", 1, 2, false)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("gone", "z", 1, 2, true)
	expect("gone still", "z", 0, 2, true)
	write(t, file, strings.Repeat("#", access.MaxFileBytes+1))
	expect("too large", "z", 1, 2, true)
	write(t, file, rulesFor("z"))
	expect("back", "z", 1, 3, false)
	stop()
	write(t, file, rulesFor("x"))
	expect("nobody listens", "x", 1, 3, false)
}

// TestReloadOfALink: as volumes of configuration are replaced, by a link to a directory.
func TestReloadOfALink(t *testing.T) {
	dir := t.TempDir()
	for _, prefix := range []string{"x", "y"} {
		if err := os.Mkdir(filepath.Join(dir, prefix), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, prefix, "access.yaml"), rulesFor(prefix))
	}
	link := func(to string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "now"))); err != nil {
			t.Fatal(err)
		}
	}
	link("x")
	c, _ := open(t, filepath.Join(dir, "now", "access.yaml"), time.Hour)
	link("y")
	if err := c.Reload(); err != nil || !reads(c, "y") || reads(c, "x") {
		t.Errorf("the link leads elsewhere and the rules are the old ones: %v", err)
	}
}

// TestWatch: the file is read again without being asked to.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		write(t, file, rulesFor("x"))
		c, _ := open(t, file, 0)
		write(t, file, rulesFor("y"))
		time.Sleep(access.DefaultEvery + settle) // of virtual time
		synctest.Wait()
		if !reads(c, "y") {
			t.Error("the file has changed and the rules have not")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad"), "rules: [")
	write(t, filepath.Join(dir, "cut off"), strings.TrimSpace(rulesFor("x")))
	for _, file := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "bad"), filepath.Join(dir, "cut off"), dir} {
		if c, err := access.Open(access.Config{File: file}); err == nil {
			c.Close()
			t.Errorf("%s was opened", file)
		}
	}
}

// TestSpend: a burst at once, then the rate, and a large call is paid for later.
func TestSpend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		write(t, file, rulesFor("x")) // 10 a second, 3 at once
		c, _ := open(t, file, time.Hour)
		id := c.Policy().ByName("a")
		spend := func(want, cost int) {
			t.Helper()
			got := 0
			var err error
			for err == nil && got < 1000 {
				if _, err = c.Spend(id, cost); err == nil {
					got++
				}
			}
			var limit *sema.LimitError
			if got != want || !errors.As(err, &limit) || limit.RetryAfter <= 0 || limit.Most != 10 {
				t.Errorf("%d calls, want %d: %v", got, want, err)
			}
		}
		spend(3, 1)
		time.Sleep(100 * time.Millisecond)
		spend(1, 1)
		time.Sleep(time.Hour)
		spend(3, 1)
		time.Sleep(300 * time.Millisecond)
		spend(1, 103) // leaves a debt of a hundred
		time.Sleep(10 * time.Second)
		spend(0, 1)
		time.Sleep(100 * time.Millisecond)
		spend(1, 1)
	})
}

// TestRefusalsArePaced: who is refused is told so at its rate, however often it asks, and
// owes nothing when it has waited.
func TestRefusalsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		write(t, file, rulesFor("x")) // 10 a second, 3 at once
		c, _ := open(t, file, time.Hour)
		id := c.Policy().ByName("a")
		for range 3 {
			if pause, err := c.Spend(id, 1); pause != 0 || err != nil {
				t.Fatalf("within the rate: %v, %v", pause, err)
			}
		}
		for i := range 100 {
			want := min(time.Duration(i+1)*100*time.Millisecond, time.Second)
			if pause, err := c.Spend(id, 1); pause != want || err == nil {
				t.Fatalf("refusal %d: a pause of %v (%v), want %v", i, pause, err, want)
			}
		}
		time.Sleep(time.Hour)
		for range 3 {
			if pause, err := c.Spend(id, 1); pause != 0 || err != nil {
				t.Fatalf("later: %v, %v", pause, err)
			}
		}
		if pause, _ := c.Spend(id, 1); pause != 100*time.Millisecond {
			t.Errorf("the first refusal after long waits for %v", pause)
		}
	})
}

// TestDenialsAreCounted: a flood of them is a line a minute for each who floods, and some
// 256 for however many.
func TestDenialsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		write(t, file, rulesFor("x"))
		c, log := open(t, file, time.Second)
		log.take()
		for port := range 1000 {
			c.Denied("a", fmt.Sprintf("10.0.0.1:%d", port), "Get", sema.ErrDenied)
		}
		if lines := log.take(); len(lines) != 1 {
			t.Errorf("%d lines for one who floods: %q", len(lines), lines)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "suppressed=999") || !strings.Contains(lines[0], "audit") {
			t.Errorf("afterwards: %q", lines)
		}
		for host := range 10_000 {
			c.Denied("", fmt.Sprintf("10.0.%d.%d:1", host/250, host%250), "Get", sema.ErrUnauthenticated)
		}
		if lines := log.take(); len(lines) < 200 || len(lines) > 257 {
			t.Errorf("%d lines for 10,000 who flood", len(lines))
		}
	})
}

// TestHalfAFile: of a file that is being written nothing counts, though what is there so far
// may be read as rules, and as ones that give more.
func TestHalfAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		whole := `identities: [{name: a, tokens: ["` + hash(1) + `"]}]
rules:
  - {who: [a], names: [""], rights: [read]}
limits: {requests-per-second: 7}
`
		half := whole[:strings.Index(whole, "limits")]
		slowly := func(begin time.Duration, whole string) { // for longer than it is waited at first
			time.AfterFunc(begin+50*time.Millisecond, func() { write(t, file, half+"#\n") })
			time.AfterFunc(begin+150*time.Millisecond, func() { write(t, file, whole) })
		}
		write(t, file, half)
		slowly(0, whole)
		c, err := access.Open(access.Config{File: file})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		limit := func() uint32 { return c.Policy().ByName("a").Limits().Requests }
		if limit() != 7 {
			t.Errorf("at the start half of the file counts: a limit of %d", limit())
		}
		write(t, file, half)
		slowly(access.DefaultEvery, strings.Replace(whole, "7}", "8}", 1))
		defer c.OnChange(func() {
			if limit() != 8 {
				t.Errorf("half of the file came into force: a limit of %d", limit())
			}
		})()
		time.Sleep(2*access.DefaultEvery + time.Second) // of virtual time
		synctest.Wait()
		if limit() != 8 {
			t.Errorf("the whole file did not come into force: a limit of %d", limit())
		}
		write(t, file, strings.TrimSpace(whole))
		if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "line end") {
			t.Errorf("a last line without an end: %v", err)
		}
	})
}

// TestCharge: what keeps a hold is never refused, others wait until it is paid, for ten
// seconds at the most, and beyond that it is paced.
func TestCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "access.yaml")
		write(t, file, rulesFor("x")) // 10 a second, 3 at once
		c, _ := open(t, file, time.Hour)
		id := c.Policy().ByName("a")
		for i := range 103 { // a burst, and ten seconds
			if pause := c.Charge(id, 1); pause != 0 {
				t.Fatalf("charge %d waits for %v", i, pause)
			}
		}
		for range 100 {
			if pause := c.Charge(id, 1); pause <= 0 || pause > time.Second {
				t.Fatalf("a charge beyond the bound waits for %v", pause)
			}
		}
		time.Sleep(10 * time.Second)
		if _, err := c.Spend(id, 1); !errors.Is(err, sema.ErrLimit) {
			t.Errorf("before it is paid: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := c.Spend(id, 1); err != nil {
			t.Errorf("when it is paid: %v", err)
		}
	})
}

// TestDenialsByRight: a denial of one right does not hide that of another.
func TestDenialsByRight(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yaml")
	write(t, file, rulesFor("x"))
	c, log := open(t, file, time.Hour)
	for range 3 {
		for _, right := range []access.Right{access.Read, access.Force} {
			c.Denied("a", "10.0.0.1:1", "m", c.Policy().ByName("a").May(right, "y"))
		}
	}
	if lines := log.take(); len(lines) != 2 {
		t.Errorf("logged %q, want a line for each right", lines)
	}
}

// TestAuditLogger: the audit log may have a logger of its own, with a level of its own.
func TestAuditLogger(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yaml")
	write(t, file, rulesFor("x"))
	own := new(log)
	c, err := access.Open(access.Config{File: file, Every: time.Hour, Settle: settle, Logger: hclog.New(&hclog.LoggerOptions{Output: own, Level: hclog.Error}),
		AuditLogger: hclog.New(&hclog.LoggerOptions{Output: own})})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Audit("hold ended by force", "a", "10.0.0.1:1", nil)
	if got := own.take(); len(got) != 1 || !strings.Contains(got[0], "hold ended by force") {
		t.Errorf("logged %q", got)
	}
}
