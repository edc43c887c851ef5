package client

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
)

// NoLeaderError is a call that ended unanswered and changed nothing: no leader
// was found, or none that had time for it. It matches [sema.ErrNoLeader] and
// Cause.
type NoLeaderError struct {
	// Endpoints are the nodes that were asked, in the order in which they were
	// first asked, with what each said last.
	Endpoints []EndpointError
	// Cause is what ended the wait, such as context.DeadlineExceeded.
	Cause error
}

// EndpointError is what one node said last.
type EndpointError struct {
	Endpoint string // host:port
	Err      error
}

func (e *NoLeaderError) Error() string {
	return fmt.Sprintf("no leader found: %v; %s", e.Cause, asked(e.Endpoints))
}

// Unwrap makes errors.Is find [sema.ErrNoLeader] and the cause. What the nodes
// said is not part of it: that one of them was closed does not mean that this
// client was.
func (e *NoLeaderError) Unwrap() []error { return []error{sema.ErrNoLeader, e.Cause} }

func (e EndpointError) Error() string { return fmt.Sprintf("%s (%s)", e.Endpoint, e.said()) }

// Unwrap returns Err.
func (e EndpointError) Unwrap() error { return e.Err }

// said is the text of Err without gRPC's frame around it.
func (e EndpointError) said() string {
	st, ok := status.FromError(e.Err)
	switch {
	case !ok:
		return e.Err.Error()
	case st.Code() == codes.DeadlineExceeded || st.Code() == codes.Canceled:
		return "no answer"
	}
	return withAdvice(st.Message())
}

// misunderstandings are what gRPC says when only one side speaks TLS, or a node does not
// take what a client shows, and what to do about it.
var misunderstandings = []struct{ sign, advice string }{
	{"first record does not look like a TLS handshake", "the node does not speak TLS: leave out --tls-ca, or give the node --tls-cert"},
	{"error reading server preface: EOF", "does the node expect TLS? Give --tls-ca"},
	{"error reading server preface: read tcp", "does the node expect TLS? Give --tls-ca"},
	{"error reading server preface: connection reset by peer", "does the node expect TLS? Give --tls-ca"},
	{"tls: certificate required", "the node wants a client's certificate: give --tls-cert and --tls-key"},
	{"signed by unknown authority", "the node's certificate is of another authority than --tls-ca has"},
	{"tls: unknown certificate authority", "the node does not know the authority of --tls-cert"},
	{"tls: bad certificate", "the node does not take the certificate of --tls-cert"},
	{"tls: expired certificate", "the certificate of --tls-cert has expired, or is not valid yet"},
	// What it said may be lost when it hangs up while something is on the way to it. So it is when a node dies.
	{"write: broken pipe", "the node hung up; if it lives, does it want TLS (--tls-ca), or a client's certificate (--tls-cert and --tls-key)?"},
	{"x509: certificate is valid for", "connect to one of these names, or give --tls-server-name node.sema"},
	{"x509: cannot validate certificate for", "connect by a name that is in it, or give --tls-server-name node.sema"},
}

func withAdvice(message string) string {
	for _, m := range misunderstandings {
		if strings.Contains(message, m.sign) {
			return message + ": " + m.advice
		}
	}
	return message
}

// asked says who was asked and what each said.
func asked(endpoints []EndpointError) string {
	if len(endpoints) == 0 {
		return "no node was asked"
	}
	texts := make([]string, len(endpoints))
	for i, e := range endpoints {
		texts[i] = e.Error()
	}
	return "asked " + strings.Join(texts, ", ")
}

// verdict is what to do after a failed try.
type verdict int

const (
	askAnother verdict = iota // this node cannot answer
	askLeader                 // this node says who can
	askAgain                  // this node can, but not now
	giveUp                    // it is refused, here and everywhere
	answered                  // the cluster decided, and this is its answer
)

// judge tells what to do after a try that ended with err, and whether it may
// have taken effect. sent is whether the request may have left this process.
func judge(err error, sent bool) (v verdict, effect bool) {
	switch {
	case errors.Is(err, sema.ErrOutcomeUnknown):
		return askAnother, true
	case errors.Is(err, sema.ErrNotHeld), errors.Is(err, sema.ErrNotFound), errors.Is(err, sema.ErrAttemptFinished):
		return answered, false
	case errors.Is(err, sema.ErrNotLeader):
		return askLeader, false
	case errors.Is(err, sema.ErrOverloaded):
		return askAgain, false // every other node would only pass it on to the same queue
	case errors.Is(err, sema.ErrClosed):
		return askAnother, false
	case errors.Is(err, sema.ErrInvalid), errors.Is(err, sema.ErrDenied), errors.Is(err, sema.ErrUnauthenticated), errors.Is(err, sema.ErrLimit):
		return giveUp, false // what this node says, all would
	}
	st, ok := status.FromError(err)
	if !ok {
		return giveUp, true // an error of Sema that this version does not know
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.Unimplemented, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated:
		return giveUp, false // by gRPC, before anybody looked at it
	}
	return askAnother, sent
}
