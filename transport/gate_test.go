package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// authority signs certificates, for as long as a test takes.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(cn string, dns ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, DNSNames: dns, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// The tokens of the guarded node.
var (
	shipping, operator, limited = access.NewToken(), access.NewToken(), access.NewToken()
	stranger                    = access.NewToken()
)

var rules = `
identities:
  - {name: billing, certificate: {cn: [billing], dns: [billing.example.com]}}
  - {name: shipping, tokens: ["` + shipping.Hash().String() + `"], limits: {holds: 7, tickets: 3}}
  - {name: operator, tokens: ["` + operator.Hash().String() + `"]}
  - {name: limited, tokens: ["` + limited.Hash().String() + `"], limits: {requests-per-second: 1, burst: 5}}
rules:
  - {who: [billing], names: ["billing/"], rights: [read, acquire]}
  - {who: [shipping], names: ["shipping/", "public"], rights: [read, acquire]}
  - {who: [limited], names: [""], rights: [read]}
  - {who: [operator], names: [""], rights: [read, force]}
  - {who: [operator], rights: [admin]}
cluster: {holds: 50}
`

// guarded is a node with access control on loopback.
type guarded struct {
	fakenode.Node
	t       testing.TB
	addr    string
	ca      *authority // nil: no TLS
	control *access.Control
	file    string
	server  *transport.Server
	log     *lines
}

type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func guard(t testing.TB, withTLS bool, change func(*transport.ServerConfig)) *guarded {
	t.Helper()
	g := &guarded{t: t, file: filepath.Join(t.TempDir(), "access.yaml"), log: new(lines)}
	g.write(rules)
	var err error
	g.control, err = access.Open(access.Config{File: g.file, Every: time.Hour, Settle: time.Millisecond, Logger: hclog.New(&hclog.LoggerOptions{Output: g.log})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.control.Close)
	cfg := transport.ServerConfig{NodeID: "n1", Backend: &g.Node, Access: g.control}
	if withTLS {
		g.ca = newAuthority(t)
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{g.ca.sign("node")}, ClientCAs: g.ca.pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	}
	if change != nil {
		change(&cfg)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = lis.Addr().String()
	g.server = transport.NewServer(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.server.Serve(lis)
	}()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		g.server.Stop(now)
		<-done
	})
	return g
}

func (g *guarded) write(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// reload puts other rules into force.
func (g *guarded) reload(text string) {
	g.t.Helper()
	g.write(text)
	if err := g.control.Reload(); err != nil {
		g.t.Fatal(err)
	}
}

// bearer shows a token, wherever.
type bearer access.Token

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// as returns a connection of who has this token, "" for none, and certificate, nil for none.
func (g *guarded) as(token access.Token, cert *tls.Certificate) *grpc.ClientConn {
	g.t.Helper()
	creds := insecure.NewCredentials()
	if g.ca != nil {
		cfg := &tls.Config{RootCAs: g.ca.pool()}
		if cert != nil {
			cfg.Certificates = []tls.Certificate{*cert}
		}
		creds = credentials.NewTLS(cfg)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient("passthrough:///"+g.addr, options...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (g *guarded) client(token access.Token) semav1.SemaClient {
	return semav1.NewSemaClient(g.as(token, nil))
}

// TestEveryMethodNeedsARight: a method that somebody adds is denied until it is in the
// table, and this says so.
func TestEveryMethodNeedsARight(t *testing.T) {
	g := guard(t, false, nil)
	for _, method := range g.server.Methods() {
		if !transport.HasNeed(method) {
			t.Errorf("%s is in no row of the table in rights.go: which right does it need?", method)
		}
	}
}

// ways are the calls on a name, one by one.
var ways = map[string]func(ctx context.Context, c semav1.SemaClient, name string) error{
	"Acquire": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.Acquire(ctx, &semav1.AcquireRequest{Name: name, Owner: "o", Timeout: durationpb.New(time.Minute)})
		return err
	},
	"Wait": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := transport.ReceiveWait(c, ctx, &semav1.WaitRequest{Name: name, Owner: "o", Timeout: durationpb.New(time.Minute),
			Attempt: &semav1.Attempt{Client: bytes.Repeat([]byte{7}, 16), Seq: 1}}, func(*semav1.WaitResponse) error { return nil })
		return err
	},
	"Touch": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.Touch(ctx, &semav1.TouchRequest{Name: name, Token: 1})
		return err
	},
	"TouchAll": func(ctx context.Context, c semav1.SemaClient, name string) error {
		resp, err := c.TouchAll(ctx, &semav1.TouchAllRequest{Holds: []*semav1.Hold{{Name: name, Token: 1}}})
		if err == nil && resp.GetOutcomes()[0].GetError() == semav1.ErrorCode_DENIED {
			return transport.ErrorToStatus(sema.ErrDenied)
		}
		return err
	},
	"Release": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.Release(ctx, &semav1.ReleaseRequest{Name: name, Token: 1})
		return err
	},
	"ForceRelease": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.ForceRelease(ctx, &semav1.ForceReleaseRequest{Name: name, Token: 1})
		return err
	},
	"Get": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.Get(ctx, &semav1.GetRequest{Name: name})
		return err
	},
	"List": func(ctx context.Context, c semav1.SemaClient, name string) error {
		_, err := c.List(ctx, &semav1.ListRequest{Prefix: name})
		return err
	},
	"Status": func(ctx context.Context, c semav1.SemaClient, _ string) error {
		_, err := c.Status(ctx, &semav1.StatusRequest{})
		return err
	},
	"Join": func(ctx context.Context, c semav1.SemaClient, _ string) error {
		_, err := c.Join(ctx, &semav1.JoinRequest{Id: "n4", RaftAddr: "h:1"})
		return err
	},
	"FindMember": func(ctx context.Context, c semav1.SemaClient, _ string) error {
		_, err := c.FindMember(ctx, &semav1.FindMemberRequest{Id: "n4"})
		return err
	},
	"Remove": func(ctx context.Context, c semav1.SemaClient, _ string) error {
		_, err := c.Remove(ctx, &semav1.RemoveRequest{Id: "n4"})
		return err
	},
	"TransferLeadership": func(ctx context.Context, c semav1.SemaClient, _ string) error {
		_, err := c.TransferLeadership(ctx, &semav1.TransferLeadershipRequest{})
		return err
	},
}

// TestWhoMayDoWhat goes through all calls and callers over TLS: who shows a certificate, a
// token, one that nobody knows, or nothing.
func TestWhoMayDoWhat(t *testing.T) {
	g := guard(t, true, nil)
	billing, other := g.ca.sign("whoever", "billing.example.com"), g.ca.sign("whoever")
	callers := map[string]semav1.SemaClient{
		"billing":                     semav1.NewSemaClient(g.as("", &billing)),
		"shipping":                    g.client(shipping),
		"operator":                    g.client(operator),
		"unknown certificate":         semav1.NewSemaClient(g.as("", &other)),
		"unknown token":               g.client(stranger),
		"bad token, good certificate": semav1.NewSemaClient(g.as(stranger, &billing)),
		"nobody":                      g.client(""),
	}
	all := func(who, name string) map[string]codes.Code {
		want := map[string]codes.Code{}
		for way := range ways {
			want[way] = codes.Unauthenticated
		}
		may := func(allowed string) {
			for way := range ways {
				want[way] = codes.PermissionDenied
				if strings.Contains(" "+allowed+" ", " "+way+" ") {
					want[way] = codes.OK
				}
			}
		}
		const acquire = "Acquire Wait Touch TouchAll Release "
		switch who + " " + name {
		case "billing billing/1", "shipping shipping/1":
			may(acquire + "Get List Status")
		case "billing shipping/1", "shipping billing/1":
			may("Status")
		case "operator billing/1", "operator shipping/1":
			may("ForceRelease Get List Status Join FindMember Remove TransferLeadership")
		}
		return want
	}
	for who, client := range callers {
		for _, name := range []string{"billing/1", "shipping/1"} {
			for way, want := range all(who, name) {
				err := ways[way](within(t, 20*time.Second), client, name)
				got := status.Code(err)
				if want == codes.OK && got != codes.PermissionDenied && got != codes.Unauthenticated {
					continue // what comes of it is for others to test
				}
				if got != want {
					t.Errorf("%s, %s on %s: %v, want %v", who, way, name, err, want)
				}
			}
		}
	}
	conn := g.as("", nil)
	if _, err := healthv1.NewHealthClient(conn).Check(within(t, 20*time.Second), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health is for anyone: %v", err)
	}
}

// TestDenialTellsNothing: whether a name is held or free, the answer is the same, and
// nobody looked: the node was asked nothing.
func TestDenialTellsNothing(t *testing.T) {
	g := guard(t, true, nil)
	if _, err := g.Acquire(t.Context(), transport.AcquireRequest{Name: "billing/h", Owner: "o", Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	asked := len(g.Requests())
	for _, token := range []access.Token{shipping, stranger, ""} {
		client := g.client(token)
		for way, call := range ways {
			if way == "Status" || way == "List" || way == "TouchAll" && token == shipping {
				continue
			}
			held, free := call(within(t, 20*time.Second), client, "billing/h"), call(within(t, 20*time.Second), client, "billing/f")
			h, f := status.Convert(held), status.Convert(free)
			if h.Code() != f.Code() || strings.ReplaceAll(h.Message(), "billing/h", "billing/f") != f.Message() || len(h.Details()) != 1 {
				t.Errorf("%s of what is held: %v, of what is free: %v", way, held, free)
			}
			var err error = transport.ErrorFromStatus(held)
			if token == shipping && (!errors.Is(err, sema.ErrDenied) || !strings.Contains(err.Error(), "lacks the right")) ||
				token != shipping && !errors.Is(err, sema.ErrUnauthenticated) {
				t.Errorf("%s: %v", way, err)
			}
		}
	}
	if got := g.Requests()[asked:]; len(got) > 0 {
		t.Errorf("the node was asked: %v", got)
	}
}

// TestListIsFiltered hands the node the prefixes that may be read, whatever was asked.
func TestListIsFiltered(t *testing.T) {
	g := guard(t, true, nil)
	for _, tc := range []struct {
		prefix string
		within []string
		want   string // "": denied
	}{
		{"", nil, "public shipping/"},
		{"p", nil, "public"},
		{"shipping/x", nil, "shipping/x"},
		{"billing/", nil, ""},
		{"", []string{"billing/", "shipping/eu"}, "shipping/eu"},
		{"", []string{"a", "billing/"}, ""},
		{"", []string{"z", "s"}, "?"}, // not in order
	} {
		before := len(g.Requests())
		_, err := g.client(shipping).List(within(t, 20*time.Second), &semav1.ListRequest{Prefix: tc.prefix, Within: tc.within})
		got := g.Requests()[before:]
		switch {
		case tc.want == "?" && status.Code(err) == codes.InvalidArgument && len(got) == 0:
		case tc.want == "" && status.Code(err) == codes.PermissionDenied && len(got) == 0:
		case tc.want != "" && err == nil && len(got) == 1 && strings.Join(got[0].(transport.ListRequest).Within, " ") == tc.want:
		default:
			t.Errorf("list %q within %q: asked %v, %v; want %q", tc.prefix, tc.within, got, err, tc.want)
		}
	}
}

// TestExchangeJudgesEachCall: one that is denied does the others no harm.
func TestExchangeJudgesEachCall(t *testing.T) {
	g := guard(t, true, nil)
	k := talkTo(t, within(t, 20*time.Second), g.client(shipping))
	get := func(id uint64, name string) *semav1.Call {
		return &semav1.Call{Id: id, Request: &semav1.Call_Acquire{Acquire: &semav1.AcquireRequest{Name: name, Owner: "o", Timeout: durationpb.New(time.Minute)}}}
	}
	k.ask(get(1, "billing/1"))
	k.fails(1, codes.PermissionDenied)
	k.ask(get(2, "shipping/1"))
	if a := k.answer(2); a.GetAcquire().GetInfo().GetStatus() != semav1.Status_ACQUIRED {
		t.Errorf("answered %v", a)
	}
	if got := g.Requests(); len(got) != 1 || got[0].(transport.AcquireRequest).Account.Identity != "shipping" {
		t.Errorf("the node was asked %v", got)
	}
	// The rules of the moment count, for streams that are open.
	g.reload(strings.ReplaceAll(rules, `"shipping/"`, `"billing/"`))
	k.ask(get(3, "shipping/1"))
	k.fails(3, codes.PermissionDenied)
	k.ask(get(4, "billing/1"))
	k.answer(4)
	// Who is known no more, has no stream.
	g.reload(strings.ReplaceAll(rules, shipping.Hash().String(), stranger.Hash().String()))
	if _, err := k.stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of somebody who is not known: %v", err)
	}
	if _, err := g.client(stranger).Status(within(t, 20*time.Second), &semav1.StatusRequest{}); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

// TestWaitEndsWithTheRight: who waits when the right is taken away, waits no more; in an
// exchange too.
func TestWaitEndsWithTheRight(t *testing.T) {
	g := guard(t, true, nil)
	if _, err := g.Acquire(t.Context(), transport.AcquireRequest{Name: "shipping/1", Owner: "o", Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	c := g.client(shipping)
	m := &semav1.WaitRequest{Name: "shipping/1", Owner: "o", Timeout: durationpb.New(time.Minute), Attempt: &semav1.Attempt{Client: bytes.Repeat([]byte{7}, 16), Seq: 1}}
	placed := make(chan struct{}, 2)
	ended := make(chan error, 1)
	go func() {
		_, err := transport.ReceiveWait(c, within(t, 20*time.Second), m, func(*semav1.WaitResponse) error { placed <- struct{}{}; return nil })
		ended <- err
	}()
	take(t, placed, "a place in line")
	k := talkTo(t, within(t, 20*time.Second), c)
	k.ask(&semav1.Call{Id: 1, Request: &semav1.Call_Wait{Wait: &semav1.WaitRequest{Name: "shipping/1", Owner: "o", Timeout: m.Timeout,
		Attempt: &semav1.Attempt{Client: bytes.Repeat([]byte{8}, 16), Seq: 1}}}})
	k.answer(1)
	g.reload(strings.ReplaceAll(rules, `"shipping/"`, `"else/"`))
	if err := take(t, ended, "the wait ends"); err == nil {
		t.Error("granted without the right")
	}
	if a := k.answer(1); len(a.GetError()) == 0 {
		t.Errorf("in the exchange: %v", a)
	}
}

// TestTouchAllJudgesEachHold: one that is denied does not cost the others their time.
func TestTouchAllJudgesEachHold(t *testing.T) {
	g := guard(t, true, nil)
	info, err := g.Acquire(t.Context(), transport.AcquireRequest{Name: "shipping/1", Owner: "o", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client(shipping).TouchAll(within(t, 20*time.Second), &semav1.TouchAllRequest{Holds: []*semav1.Hold{
		{Name: "billing/1", Token: 1}, {Name: "shipping/1", Token: info.Token}, {Name: "billing/2", Token: 2}, {Name: "shipping/2", Token: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []semav1.ErrorCode{semav1.ErrorCode_DENIED, 0, semav1.ErrorCode_DENIED, semav1.ErrorCode_NOT_HELD} {
		if got := resp.GetOutcomes()[i].GetError(); got != want {
			t.Errorf("hold %d: %v, want %v", i, got, want)
		}
	}
}

// elsewhere is a listener whose connections do not look as if they came from this machine.
type elsewhere struct{ net.Listener }

type remoteConn struct{ net.Conn }

func (remoteConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7362} }

func (l elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{c}, nil
}

// TestTokensNeedTLS, unless they do not leave the machine or somebody says so.
func TestTokensNeedTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		elsewhere, insecure bool
		want                codes.Code
	}{
		"loopback":                  {false, false, codes.OK},
		"from elsewhere":            {true, false, codes.Unauthenticated},
		"from elsewhere, on demand": {true, true, codes.OK},
	} {
		g := guard(t, false, func(c *transport.ServerConfig) { c.InsecureTokens = tc.insecure })
		if tc.elsewhere {
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			g.addr = lis.Addr().String()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = g.server.Serve(elsewhere{lis})
			}()
			t.Cleanup(func() { _ = lis.Close(); <-done })
		}
		_, err := g.client(shipping).Status(within(t, 20*time.Second), &semav1.StatusRequest{})
		if status.Code(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestAccountTravels: it is that of whom the rules know, also through a node that passes
// the call on, and nobody can claim another.
func TestAccountTravels(t *testing.T) {
	leader := &fakenode.Node{}
	claim := metadata.AppendToOutgoingContext(within(t, 20*time.Second), "sema-account-bin", (&transport.Account{Identity: "billing"}).Encode())
	last := func(n *fakenode.Node) *transport.Account {
		all := n.Requests()
		return accountOf(all[len(all)-1])
	}
	acquire := &semav1.AcquireRequest{Name: "shipping/1", Owner: "o", Timeout: durationpb.New(time.Minute)}
	open := serveBackend(t, "open", leader, nil, nil) // a client port without rules
	if _, err := open.client.Acquire(claim, acquire); err != nil {
		t.Fatal(err)
	}
	if a := last(leader); a != nil {
		t.Errorf("a client claimed the account of %v", a)
	}

	led := leads(t, leader)
	g := guard(t, true, func(c *transport.ServerConfig) { c.Peers = passing(t) })
	g.Intercept(func(context.Context, any, func() error) error {
		return &sema.NotLeaderError{Leader: led}
	})
	want := transport.Account{Identity: "shipping", Holds: 7, Tickets: 3, AllHolds: 50}
	if _, err := g.client(shipping).Acquire(claim, acquire); err != nil || *last(leader) != want {
		t.Errorf("passed on: %+v, %v, want %+v", last(leader), err, want)
	}
	for _, way := range []string{"Touch", "TouchAll", "Release"} {
		_ = ways[way](claim, g.client(shipping), "shipping/"+way) // what comes of it is of no matter
		if a := last(leader); a == nil || *a != want {
			t.Errorf("passed on in %s: %+v, want %+v", way, a, want)
		}
	}
	k := talkTo(t, claim, g.client(shipping))
	k.ask(&semav1.Call{Id: 1, Request: &semav1.Call_Acquire{Acquire: acquire}})
	if k.answer(1); *last(leader) != want {
		t.Errorf("in an exchange: %+v, want %+v", last(leader), want)
	}
	k.ask(&semav1.Call{Id: 2, Request: &semav1.Call_Release{Release: &semav1.ReleaseRequest{Name: "shipping/1", Token: 1}}})
	if k.answer(2); last(leader) == nil || *last(leader) != want {
		t.Errorf("in an exchange, of a release: %+v, want %+v", last(leader), want)
	}
}

// leads serves node n2 for other nodes, as the leader does.
func leads(t *testing.T, leader *fakenode.Node) sema.Leader {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nodes := transport.NewServer(transport.ServerConfig{NodeID: "n2", Backend: leader, FromNodes: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = nodes.Serve(lis)
	}()
	t.Cleanup(func() { nodes.Stop(t.Context()); <-done })
	return sema.Leader{ID: "n2", RaftAddr: lis.Addr().String()}
}

// accountOf is the account of a request that a node was asked.
func accountOf(req any) *transport.Account {
	switch req := req.(type) {
	case transport.AcquireRequest:
		return req.Account
	case transport.TouchRequest:
		return req.Account
	case transport.TouchAllRequest:
		return req.Account
	case transport.ReleaseRequest:
		return req.Account
	}
	return nil
}

// TestAudit: a forced release and a denial leave a line each, with who and from where.
func TestAudit(t *testing.T) {
	g := guard(t, true, nil)
	info, err := g.Acquire(t.Context(), transport.AcquireRequest{Name: "shipping/1", Owner: "the owner", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 20*time.Second)
	if _, err := g.client(operator).ForceRelease(ctx, &semav1.ForceReleaseRequest{Name: "shipping/1", Token: info.Token}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.client(operator).Remove(ctx, &semav1.RemoveRequest{Id: "n4"}); err != nil {
		t.Fatal(err)
	}
	_, _ = g.client(operator).ForceRelease(ctx, &semav1.ForceReleaseRequest{Name: "shipping/2", Token: 1}) // nobody holds it
	for range 100 {
		_ = ways["Get"](ctx, g.client(shipping), "billing/1")
	}
	for _, want := range []string{
		`audit: hold ended by force: identity=operator from=127.0.0.1:`, `name=shipping/1`, `owner="the owner"`,
		`audit: member removed: identity=operator from=127.0.0.1:`, `member=n4`,
		`audit: hold ended by force failed: identity=operator`,
		`audit: denied: identity=shipping from=127.0.0.1:`, `method=/sema.v1.Sema/Get`, `billing/1`,
	} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("not in the log: %s", want)
		}
	}
	if n := strings.Count(g.log.String(), "audit: denied"); n != 1 {
		t.Errorf("%d lines for 100 denials", n)
	}
	for _, token := range []access.Token{shipping, operator} {
		if strings.Contains(g.log.String(), string(token)) {
			t.Error("a token is in the log")
		}
	}
}

// TestRulesChangeUnderLoad: once a reload has returned the new rules count for whatever
// is asked then, and nobody is refused what both allow.
func TestRulesChangeUnderLoad(t *testing.T) {
	g := guard(t, true, nil)
	ctx, cancel := context.WithCancel(within(t, 60*time.Second))
	var wg sync.WaitGroup
	for range 4 {
		client := g.client(shipping)
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := ways["Get"](ctx, client, "public"); status.Code(err) == codes.PermissionDenied || status.Code(err) == codes.Unauthenticated {
					t.Errorf("both rules allow it: %v", err)
				}
			}
		})
	}
	probe := g.client(shipping)
	for i := range 40 {
		text, want := rules, codes.PermissionDenied
		if i%2 == 0 {
			text, want = strings.ReplaceAll(rules, `"shipping/"`, `"billing/"`), codes.NotFound
		}
		g.reload(text)
		if err := ways["Get"](ctx, probe, "billing/1"); status.Code(err) != want {
			t.Errorf("after reload %d: %v, want %v", i, err, want)
		}
	}
	cancel()
	wg.Wait()
}

// TestRequestsAreLimited: beyond its burst an identity is told when to come again, and
// nobody else is.
func TestRequestsAreLimited(t *testing.T) {
	g := guard(t, true, nil)
	client := g.client(limited)
	refused := 0
	for range 10 {
		err := transport.ErrorFromStatus(ways["Get"](within(t, 20*time.Second), client, "a"))
		var limit *sema.LimitError
		if errors.As(err, &limit) && limit.RetryAfter > 0 && limit.RetryAfter <= time.Second {
			refused++
		} else if !errors.Is(err, sema.ErrNotFound) {
			t.Error(err)
		}
	}
	if refused < 3 || refused > 5 {
		t.Errorf("%d of 10 were refused, want 5, or a little less if it took seconds", refused)
	}
	if err := ways["Get"](within(t, 20*time.Second), g.client(operator), "a"); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

// TestHoldsAreKeptBeyondTheRate: who asks too much is refused, and keeps what it has: touch
// and release are never refused for it, and others wait the longer.
func TestHoldsAreKeptBeyondTheRate(t *testing.T) {
	g := guard(t, true, nil)
	g.reload(strings.Replace(rules, `names: [""], rights: [read]}`, `names: [""], rights: [read, acquire]}`, 1))
	c := g.client(limited)
	ctx := within(t, 20*time.Second)
	r, err := c.Acquire(ctx, &semav1.AcquireRequest{Name: "x", Owner: "o", Timeout: durationpb.New(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	token := r.GetInfo().GetToken()
	for status.Code(err) != codes.ResourceExhausted {
		err = ways["Get"](ctx, c, "x")
	}
	k := talkTo(t, ctx, c)
	k.ask(&semav1.Call{Id: 1, Request: &semav1.Call_Touch{Touch: &semav1.TouchRequest{Name: "x", Token: token}}})
	if a := k.answer(1); a.GetTouch().GetInfo().GetToken() != token {
		t.Errorf("a touch in an exchange: %v", a)
	}
	if _, err := c.Touch(ctx, &semav1.TouchRequest{Name: "x", Token: token}); err != nil {
		t.Errorf("a touch: %v", err)
	}
	if m, err := c.TouchAll(ctx, &semav1.TouchAllRequest{Holds: []*semav1.Hold{{Name: "x", Token: token}}}); err != nil || m.GetOutcomes()[0].GetError() != 0 {
		t.Errorf("a touch of many: %v, %v", m, err)
	}
	if m, err := c.Release(ctx, &semav1.ReleaseRequest{Name: "x", Token: token}); err != nil || !m.GetReleased() {
		t.Errorf("a release: %v, %v", m, err)
	}
	var limit *sema.LimitError
	if err := transport.ErrorFromStatus(ways["Get"](ctx, c, "x")); !errors.As(err, &limit) || limit.RetryAfter < 2*time.Second {
		t.Errorf("what is read waits until four calls are paid: %v", err)
	}
}

// TestTooManyTouchesAreJudged: a TouchAll that is too large is refused to those who are known.
func TestTooManyTouchesAreJudged(t *testing.T) {
	g := guard(t, true, nil)
	m := &semav1.TouchAllRequest{Holds: make([]*semav1.Hold, transport.MaxTouches+1)}
	for i := range m.Holds {
		m.Holds[i] = &semav1.Hold{Name: "s"}
	}
	for token, want := range map[access.Token]codes.Code{stranger: codes.Unauthenticated, shipping: codes.InvalidArgument} {
		if _, err := g.client(token).TouchAll(within(t, 20*time.Second), m); status.Code(err) != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if all := g.Requests(); len(all) > 0 {
		t.Errorf("the node was asked %d times", len(all))
	}
}

// TestAccountOfTheJudgement: a call acts on the account by which it was allowed, also if its
// identity has gone by the time it is carried out: else it would be nobody's, past all limits.
func TestAccountOfTheJudgement(t *testing.T) {
	leader := &fakenode.Node{}
	led := leads(t, leader)
	g := guard(t, true, func(c *transport.ServerConfig) { c.Peers = passing(t) })
	g.Intercept(func(context.Context, any, func() error) error {
		g.reload(strings.ReplaceAll(rules, shipping.Hash().String(), stranger.Hash().String())) // meanwhile
		return &sema.NotLeaderError{Leader: led}
	})
	for _, way := range []string{"Acquire", "Touch", "Release"} {
		g.reload(rules)
		before := len(leader.Requests())
		_ = ways[way](within(t, 20*time.Second), g.client(shipping), "shipping/1")
		if all := leader.Requests()[before:]; len(all) != 1 || accountOf(all[0]) == nil || accountOf(all[0]).Identity != "shipping" {
			t.Errorf("%s: the leader was asked %+v", way, all)
		}
	}
}

// TestJudgingAllocatesNothing: a call of an exchange that is allowed costs a search.
func TestJudgingAllocatesNothing(t *testing.T) {
	g := guard(t, false, nil)
	may := transport.MayCall(g.control, string(shipping))
	call := &transport.Call{Method: transport.MethodAcquire, Name: "shipping/1"}
	if n := testing.AllocsPerRun(100, func() {
		if err := may(call); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeAccount(f *testing.F) {
	f.Add((&transport.Account{Identity: "billing", Holds: 1, Tickets: 2, AllHolds: 3, AllNames: 1<<32 - 1}).Encode())
	f.Add("")
	f.Add(strings.Repeat("\x00", 17))
	f.Fuzz(func(t *testing.T, value string) {
		if a := transport.DecodeAccount(value); a != nil && a.Encode() != value {
			t.Errorf("%q became %+v", value, a)
		}
	})
}
