package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/semanode/sema/internal/pki"
	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport/tlsfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a directory with a node's files.
type folder struct {
	t   *testing.T
	dir string
	log *bytes.Buffer
	mu  sync.Mutex
}

func newFolder(t *testing.T) *folder { return &folder{t: t, dir: t.TempDir(), log: &bytes.Buffer{}} }

func (f *folder) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

// said returns what was logged since it was asked last.
func (f *folder) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := f.log.String()
	f.log.Reset()
	return text
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) put(pair pki.Pair, ca []byte) {
	f.t.Helper()
	pkitest.Write(f.t, f.path("cert.pem"), pair.Cert)
	pkitest.Write(f.t, f.path("key.pem"), pair.Key)
	if ca != nil {
		pkitest.Write(f.t, f.path("ca.pem"), ca)
	}
}

func (f *folder) config() tlsfiles.Config {
	return tlsfiles.Config{Cert: f.path("cert.pem"), Key: f.path("key.pem"), CA: f.path("ca.pem"), Use: tlsfiles.Node,
		Logger: hclog.New(&hclog.LoggerOptions{Output: f})}
}

func (f *folder) open() *tlsfiles.Files {
	f.t.Helper()
	files, err := tlsfiles.Open(f.config())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { files.Close() })
	return files
}

// TestFilesAreWatched renews, breaks and mends the files, in virtual time.
func TestFilesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t)
		folder := newFolder(t)
		folder.put(ca.Issue(nil), ca.PEM)
		files := folder.open()
		defer files.Close()
		first := files.Leaf().SerialNumber
		want := func(what, log string, lines int) {
			t.Helper()
			time.Sleep(3 * tlsfiles.PollEvery) // several looks, one line
			synctest.Wait()
			said := folder.said()
			if !strings.Contains(said, log) || strings.Count(said, "\n") != lines {
				t.Errorf("%s: want %d lines with %q, got %q", what, lines, log, said)
			}
		}
		want("at the start", "serial="+first.Text(16), 1)
		want("nothing happens", "", 0)

		next := ca.Issue(nil)
		pkitest.Write(t, folder.path("cert.pem"), next.Cert)
		want("a certificate without its key", "private key does not match", 1)
		if files.Leaf().SerialNumber.Cmp(first) != 0 {
			t.Error("a certificate is used whose key is not there")
		}
		pkitest.Write(t, folder.path("key.pem"), next.Key)
		want("the key, too", "using a certificate", 1)
		if files.Leaf().SerialNumber.Cmp(first) == 0 {
			t.Error("the renewed certificate is not used")
		}

		for name, bad := range map[string][]byte{"empty": {}, "half": next.Cert[:len(next.Cert)/2], "something else": []byte("hello")} {
			pkitest.Write(t, folder.path("cert.pem"), bad)
			want(name, "cannot be used", 1)
			if files.Reload() == nil {
				t.Errorf("%s: Reload does not say so", name)
			}
			pkitest.Write(t, folder.path("cert.pem"), next.Cert)
			want("mended", "as they were", 1)
		}
		if err := os.Remove(folder.path("ca.pem")); err != nil {
			t.Fatal(err)
		}
		want("a file that is gone", "no such file", 1)
		other := pkitest.New(t)
		pkitest.Write(t, folder.path("ca.pem"), append(bytes.Clone(ca.PEM), other.PEM...))
		want("two authorities", "using a certificate", 1)
		if files.Reload() != nil || len(folder.said()) > 0 {
			t.Error("nothing has changed")
		}
	})
}

// TestKubernetes swaps the link through which all files are reached, as a mounted secret
// does.
func TestKubernetes(t *testing.T) {
	ca := pkitest.New(t)
	folder := newFolder(t)
	version := func(name string) *folderAt {
		at := &folderAt{folder.path(name)}
		if err := os.Mkdir(at.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		pair := ca.Issue(nil)
		for file, data := range map[string][]byte{"cert.pem": pair.Cert, "key.pem": pair.Key, "ca.pem": ca.PEM} {
			pkitest.Write(t, filepath.Join(at.dir, file), data)
		}
		return at
	}
	version("..one").link(t, folder.path("..data"))
	for _, file := range []string{"cert.pem", "key.pem", "ca.pem"} {
		if err := os.Symlink(filepath.Join("..data", file), folder.path(file)); err != nil {
			t.Fatal(err)
		}
	}
	files := folder.open()
	before := files.Leaf()
	version("..two").link(t, folder.path("..data"))
	if err := files.Reload(); err != nil {
		t.Fatal(err)
	}
	if files.Leaf().Equal(before) {
		t.Error("what the link led to before is still used")
	}
}

type folderAt struct{ dir string }

func (f *folderAt) link(t *testing.T, at string) {
	t.Helper()
	if err := os.Symlink(filepath.Base(f.dir), at+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at+".tmp", at); err != nil {
		t.Fatal(err)
	}
}

// TestExpiryIsTold lets time pass until after the end.
func TestExpiryIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t)
		folder := newFolder(t)
		now := time.Now()
		folder.put(ca.Issue(func(r *pki.Request) { r.From, r.To = now, now.Add(72*time.Hour) }), ca.PEM)
		files := folder.open()
		defer files.Close()
		folder.said()
		for _, tc := range []struct {
			from, to int // hours after the start
			lines    int
			says     string
		}{
			{0, 47, 0, ""},
			{47, 64, 1, "[WARN]"}, // the last third of its life
			{64, 71, 1, "[ERROR]"},
			{71, 97, 2, "has expired"}, // once a day
		} {
			time.Sleep(time.Until(now.Add(time.Duration(tc.to) * time.Hour)))
			synctest.Wait()
			said := folder.said()
			if n := strings.Count(said, "\n"); n != tc.lines || !strings.Contains(said, tc.says) {
				t.Errorf("from hour %d to %d: want %d lines with %q, got %d: %s", tc.from, tc.to, tc.lines, tc.says, n, said)
			}
		}
		folder.put(ca.Issue(func(r *pki.Request) { r.From, r.To = time.Now(), time.Now().Add(2400*time.Hour) }), nil)
		time.Sleep(2 * tlsfiles.PollEvery)
		synctest.Wait()
		if said := folder.said(); strings.Contains(said, "expired") || !strings.Contains(said, "using a certificate") {
			t.Errorf("renewed, it says %s", said)
		}
	})
}

// TestEveryFaultAtOnce has a fault in each file, and all kinds of them in turn.
func TestEveryFaultAtOnce(t *testing.T) {
	ca := pkitest.New(t)
	good := ca.Issue(nil)
	late := ca.Issue(func(r *pki.Request) { r.From, r.To = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute) })
	early := ca.Issue(func(r *pki.Request) { r.From = time.Now().Add(time.Hour) })
	client := ca.Issue(pkitest.AsClient)
	for _, tc := range []struct {
		name          string
		cert, key, ca []byte // nil: no file
		use           tlsfiles.Use
		want          []string
	}{
		{"good", good.Cert, good.Key, ca.PEM, tlsfiles.Node, nil},
		{"no file", nil, nil, nil, tlsfiles.Node, []string{"certificate: ", "key: ", "authority: "}},
		{"expired and no authority", late.Cert, late.Key, good.Cert, tlsfiles.Node, []string{"cert.pem", "expired at", "ca.pem", "is not an authority's"}},
		{"not yet valid", early.Cert, early.Key, ca.PEM, tlsfiles.Node, []string{"is not valid before", "is the clock right?"}},
		{"another key", good.Cert, late.Key, ca.PEM, tlsfiles.Node, []string{"key.pem", "does not match"}},
		{"a client's", client.Cert, client.Key, ca.PEM, tlsfiles.Node, []string{"node.sema is not among", "not for server authentication"}},
		{"a client's as a server's", client.Cert, client.Key, ca.PEM, tlsfiles.Server, []string{"not for server authentication"}},
		{"a client's as such", client.Cert, client.Key, ca.PEM, tlsfiles.Client, nil},
		{"a key among the authorities", good.Cert, good.Key, append(bytes.Clone(ca.PEM), good.Key...), tlsfiles.Node, []string{"private key"}},
		{"a cut authority", good.Cert, good.Key, append(bytes.Clone(ca.PEM), ca.PEM[:50]...), tlsfiles.Node, []string{"ends in the middle"}},
		{"text", []byte("a"), []byte("b"), []byte("c"), tlsfiles.Node, []string{"cert.pem", "no certificate in PEM"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			folder := newFolder(t)
			for name, data := range map[string][]byte{"cert.pem": tc.cert, "key.pem": tc.key, "ca.pem": tc.ca} {
				if data != nil {
					pkitest.Write(t, folder.path(name), data)
				}
			}
			cfg := folder.config()
			cfg.Use = tc.use
			files, err := tlsfiles.Open(cfg)
			if err == nil {
				files.Close()
			}
			if (err == nil) != (tc.want == nil) {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in %v", want, err)
				}
			}
		})
	}
}

// TestServerUsesWhatIsRenewed makes handshakes before and after: of the certificate that is
// shown, and of the authority that is asked for.
func TestServerUsesWhatIsRenewed(t *testing.T) {
	before, after := pkitest.New(t), pkitest.New(t)
	folder := newFolder(t)
	folder.put(before.Issue(nil), before.PEM)
	files := folder.open()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", files.Server())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	defer func() { lis.Close(); <-done }()
	try := func(server, client *pkitest.CA) error {
		config := client.Config(pkitest.AsClient)
		config.RootCAs = server.Pool()
		raw, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		config.ServerName = "127.0.0.1"
		conn := tls.Client(raw, config)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = io.ReadFull(conn, make([]byte, 5))
		return err
	}
	if err := try(before, before); err != nil {
		t.Fatal(err)
	}
	if try(before, after) == nil || try(after, before) == nil {
		t.Fatal("another authority is believed")
	}
	folder.put(after.Issue(nil), after.PEM)
	if err := files.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := try(after, after); err != nil {
		t.Fatal(err)
	}
	if try(after, before) == nil {
		t.Fatal("the authority from before is still believed")
	}
}

// TestHalfWrittenFiles cuts a chain and a bundle at each byte: what is cut within a
// certificate is not used.
func TestHalfWrittenFiles(t *testing.T) {
	ca, other := pkitest.New(t), pkitest.New(t)
	folder := newFolder(t)
	pair := ca.Issue(nil)
	chain, bundle := slices.Concat(pair.Cert, other.PEM), slices.Concat(ca.PEM, other.PEM)
	folder.put(pki.Pair{Cert: chain, Key: pair.Key}, bundle)
	files := folder.open()
	for name, whole := range map[string][]byte{"cert.pem": chain, "ca.pem": bundle} {
		end := len(whole) - len(other.PEM) // of the first
		for n := range len(whole) - 1 {
			if n >= end-1 && n <= end {
				continue // between two, which cannot be told
			}
			pkitest.Write(t, folder.path(name), whole[:n])
			if err := files.Reload(); err == nil {
				t.Fatalf("%s is used with %d of %d bytes, of which the first certificate has %d", name, n, len(whole), end)
			}
		}
		pkitest.Write(t, folder.path(name), whole)
		if err := files.Reload(); err != nil {
			t.Errorf("%s, whole again: %v", name, err)
		}
	}
}
