package access

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
)

// DefaultEvery is how often a [Control] looks at its file.
const DefaultEvery = 3 * time.Second

// Config says what a [Control] does. File must be set.
type Config struct {
	// File is the path of the access file. What it names may be replaced, by rename or
	// by a symbolic link that leads elsewhere.
	File string
	// Every is how often it is read. 3 s if zero. It is read whole, as its size and times
	// may be those of the one before.
	Every time.Duration
	// Settle is for how long content that is new must stay as it is before it counts: it may
	// be half written, and half of it may give more than the whole. 100 ms if zero.
	Settle time.Duration
	// Logger gets a line when the rules change, or cannot. Nil: nothing is logged.
	Logger hclog.Logger
	// AuditLogger gets one for each event of [Control.Audit] and [Control.Denied]. Nil: they
	// go to Logger, under "audit" and from its level on.
	AuditLogger hclog.Logger
}

// Control has the policy in force.
type Control struct {
	cfg    Config
	policy atomic.Pointer[Policy]
	log    hclog.Logger
	audit  audit
	meters meters
	// clients is told of a policy after policy.
	clients clients

	end  chan struct{}
	stop sync.Once
	wg   sync.WaitGroup

	mu     sync.Mutex
	seen   [sha256.Size]byte // content of the file when it was last read
	broken string            // why it could not be read or had faults, the last time

	changeMu sync.Mutex
	changes  map[*func()]struct{} // what to do when the rules have changed
}

// Open reads the file, and goes on reading it until Close. The error has every fault.
func Open(cfg Config) (*Control, error) {
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Settle <= 0 {
		cfg.Settle = 100 * time.Millisecond
	}
	if cfg.AuditLogger == nil {
		cfg.AuditLogger = cfg.Logger.Named("audit")
	}
	c := &Control{cfg: cfg, log: cfg.Logger, end: make(chan struct{}), changes: map[*func()]struct{}{}}
	data, err := c.settled()
	if err != nil {
		return nil, err
	}
	policy, err := parse(cfg.File, data)
	if err != nil {
		return nil, err
	}
	c.seen = sha256.Sum256(data)
	c.audit.log = cfg.AuditLogger
	c.policy.Store(policy)
	c.wg.Go(c.watch)
	return c, nil
}

// Close ends the reading of the file, and logs which denials were not logged one by one.
// The last policy stays in force. It is idempotent.
func (c *Control) Close() {
	c.stop.Do(func() { close(c.end) })
	c.wg.Wait()
	c.audit.flush(time.Now(), true)
}

// Policy returns the policy in force. It costs one atomic load.
func (c *Control) Policy() *Policy { return c.policy.Load() }

// OnChange has f called whenever another policy has come into force, until remove is
// called; it may run once more while that returns. f must not block, nor call the Control
// but for Policy.
func (c *Control) OnChange(f func()) (remove func()) {
	c.changeMu.Lock()
	defer c.changeMu.Unlock()
	key := &f
	c.changes[key] = struct{}{}
	return func() {
		c.changeMu.Lock()
		defer c.changeMu.Unlock()
		delete(c.changes, key)
	}
}

func (c *Control) tell() {
	c.changeMu.Lock()
	all := slices.Collect(maps.Keys(c.changes))
	c.changeMu.Unlock()
	for _, f := range all {
		(*f)()
	}
}

// watch reads the file now and then.
func (c *Control) watch() {
	ticker := time.NewTicker(c.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-c.end:
			return
		case <-ticker.C:
			_ = c.Reload() // it has logged why, once
			c.audit.flush(time.Now(), false)
		}
	}
}

// Reload reads the file now. An error, which is logged when it is new, means that the
// rules have not changed.
func (c *Control) Reload() error {
	changed, err := c.reload()
	if changed {
		c.tell()
	}
	return err
}

func (c *Control) reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := read(c.cfg.File)
	if err == nil && sha256.Sum256(data) == c.seen && c.broken == "" {
		return false, nil
	}
	if err == nil {
		data, err = c.settled()
	}
	if errors.Is(err, errEnded) {
		return false, err
	}
	if err != nil {
		c.keep(err)
		return false, err
	}
	sum := sha256.Sum256(data)
	c.seen = sum
	policy, err := parse(c.cfg.File, data)
	if err != nil {
		c.keep(err)
		return false, err
	}
	c.broken = ""
	c.meters.forget(policy)
	c.policy.Store(policy)
	c.clients.forget(policy)
	c.log.Info("the rules of the access file are in force", "file", c.cfg.File, "identities", len(policy.identities), "sha256", fmt.Sprintf("%x", sum[:8]))
	return true, nil
}

// keep notes that the rules stay as they are. mu is held.
func (c *Control) keep(err error) {
	if text := err.Error(); text != c.broken {
		c.broken = text
		c.log.Error("the rules before stay in force: correct the access file", "error", strings.ReplaceAll(text, "\n", "; "))
	}
}

// settleTries is how often the file is read for two readings in a row to be the same.
const settleTries = 20

// settled is the content of the file once it has stayed the same for a while.
func (c *Control) settled() ([]byte, error) {
	before, err := read(c.cfg.File)
	for range settleTries {
		if err != nil {
			return nil, err
		}
		rest := time.NewTimer(c.cfg.Settle)
		select {
		case <-rest.C:
		case <-c.end:
			rest.Stop()
			return nil, errEnded
		}
		var data []byte
		if data, err = read(c.cfg.File); err == nil && bytes.Equal(data, before) {
			return data, nil
		}
		before = data
	}
	return nil, fmt.Errorf("access file %s: it is being written: replace it by rename, so that it is never seen half written", c.cfg.File)
}

var errEnded = errors.New("access file: it is read no more")

// parse reads a policy. The last line must have its end: it may be half of one.
func parse(file string, data []byte) (*Policy, error) {
	policy, err := Parse(data)
	if err == nil && !bytes.HasSuffix(data, []byte("\n")) {
		err = &sema.InvalidError{Field: "access file", Value: "a last line without an end", Limit: "a line end after the last line: without, it may be half written"}
	}
	if err != nil {
		return nil, fmt.Errorf("access file %s: %w", file, err)
	}
	return policy, nil
}

// read reads a file, one byte more than it may have at most.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("access file: %w", err)
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, fmt.Errorf("access file %s: it is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("access file: %w", err)
	}
	defer f.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(f, MaxFileBytes+1)); err != nil {
		return nil, fmt.Errorf("access file: %w", err)
	}
	return data.Bytes(), nil
}
