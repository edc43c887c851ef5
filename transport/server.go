package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/transport/semav1"
)

// MaxMessageBytes is the largest message that is accepted.
const MaxMessageBytes = 1 << 20

// ServerConfig says what a [Server] serves.
type ServerConfig struct {
	// NodeID is told to clients in the metadata "sema-node".
	NodeID string
	// Backend answers. Required.
	Backend Backend
	// Leaders, if set, tells who leads: a call that the backend answers with
	// NotLeaderError waits for a leader. Without, that error is the answer.
	Leaders Leaders
	// Peers, if set, are where such a call then goes, if it was not passed on
	// already. Without, only a node that takes office itself meanwhile answers it.
	Peers *Peers
	// Calls, if set, counts the calls.
	Calls *Calls
	// Tracer, if set, goes on with the traces of callers.
	Tracer trace.Tracer
	// TLS, if set, is spoken on every connection.
	TLS *tls.Config
	// MaxConns bounds the connections of each listener. Those that have not introduced
	// themselves yet are bounded besides. Zero: the listener's callers are trusted.
	MaxConns int
	// Logger, if set, is told who was turned away.
	Logger hclog.Logger
	// Access, if set, says who may do what. Without, everybody may do everything.
	Access *access.Control
	// InsecureTokens takes bearer tokens also over connections without TLS that do not
	// come from this machine.
	InsecureTokens bool
	// FromNodes is for the port that nodes reach each other at: on whose account a call
	// counts that was passed on is then what its metadata says.
	FromNodes bool
	// FromClients is for the port of clients: nodes cannot join there.
	FromClients bool
}

// maxStreams bounds the calls of one connection that are open at once. An exchange is one
// call, whatever it carries.
const maxStreams = 10_000

// Leaders tells who leads.
type Leaders interface {
	// AwaitLeader waits until a leader is known, and returns it. If the leader is
	// still the one that failed, a zero Leader for none, it waits until that has
	// changed. An error means that ctx ended.
	AwaitLeader(ctx context.Context, failed sema.Leader) (sema.Leader, error)
}

// Server serves a Backend over gRPC.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	maxConns int
	refusals *refusals
	gate     *gate              // nil: everybody may do everything
	stop     context.CancelFunc // tells what waits that the server stops
}

// NewServer returns a Server that is not serving yet.
func NewServer(cfg ServerConfig) *Server {
	refusals := newRefusals(cfg.Logger)
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = tellingCreds{credentials.NewTLS(cfg.TLS), refusals}
	}
	streams := uint32(math.MaxUint32) // nodes pass on the calls of many clients over one connection
	if cfg.MaxConns > 0 {
		streams = maxStreams
		creds = pacedCreds{creds, refusals, cfg.Access != nil}
	}
	stopping, stop := context.WithCancel(context.Background())
	guard := newGate(cfg, stopping)
	judgeUnary, judgeStream := guard.options()
	s := &Server{
		maxConns: cfg.MaxConns,
		refusals: refusals,
		gate:     guard,
		stop:     stop,
		grpc: grpc.NewServer(append(append(cfg.Calls.options(), tracing{cfg.Tracer}.options()...), // first: what others refuse is counted too
			grpc.ChainStreamInterceptor(new(watches).stream, endWith(stopping)),
			judgeUnary, judgeStream,
			grpc.ForceServerCodecV2(protobuf),
			grpc.Creds(creds),
			grpc.MaxRecvMsgSize(MaxMessageBytes),
			grpc.StaticStreamWindowSize(1<<20),
			grpc.StaticConnWindowSize(1<<20),
			grpc.MaxConcurrentStreams(streams),
			grpc.ConnectionTimeout(10*time.Second),
			grpc.MaxHeaderListSize(16<<10),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		)...),
		health: health.NewServer(),
	}
	h := newHandler(cfg, stopping)
	semav1.RegisterSemaServer(s.grpc, h)
	semav1.RegisterBackupServer(s.grpc, backupHandler{handler: h})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetServing(false)
	return s
}

// Serve answers on the listener until Stop, and not at all if that was before. It
// closes the listener. It may be called for several listeners.
func (s *Server) Serve(lis net.Listener) error {
	if s.maxConns > 0 {
		lis = newAdmission(lis, s.maxConns, s.refusals, s.gate != nil)
	}
	return untilStopped(s.grpc.Serve(lis))
}

// untilStopped takes from what gRPC's Serve returns the error of a server that was
// stopped first: it is what its owner wanted, as when it is stopped while serving.
func untilStopped(err error) error {
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// SetServing tells the health service whether the service sema.v1.Sema can
// answer: a leader is known. The server itself (service "") is healthy as long
// as it answers at all.
func (s *Server) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(semav1.Sema_ServiceDesc.ServiceName, state)
}

// Stop refuses new calls, ends streams and what waits for a leader, lets the other
// calls under way finish until ctx ends, and then ends them too. It waits for
// every handler and is idempotent.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	s.stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop() // makes GracefulStop return
		<-stopped
	}
	s.gate.wait()
}

// endWith ends streams when the server stops: those of the health service and of
// reflection last as long as their client likes.
func endWith(stopping context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		switch info.FullMethod {
		case semav1.Sema_Wait_FullMethodName, semav1.Sema_Exchange_FullMethodName: // they end by themselves
			return handle(srv, stream)
		}
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		ended := make(chan error, 1)
		go func() { ended <- handle(srv, endingStream{stream, ctx}) }()
		select {
		case err := <-ended:
			if stopping.Err() != nil { // which is why, whatever the handler says
				break
			}
			return err
		case <-ctx.Done(): // a handler that reads learns of it when its stream is gone
		}
		return status.Error(codes.Unavailable, "the node stops")
	}
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (s endingStream) Context() context.Context { return s.ctx }
