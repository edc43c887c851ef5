//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/semanode/sema/internal/load"
)

// tryWithin bounds a try of a client that does not try elsewhere by itself.
const tryWithin = 100 * time.Millisecond

// etcdLockerFunc makes a worker's Locker over a session that workers share: a lease
// that is kept alive for the whole run.
type etcdLockerFunc func(s *concurrency.Session, worker int) (load.Locker, error)

// open makes clients with a session each and spreads workers over them.
func (r *etcdRunning) open(ctx context.Context, clients int, endpoints []string, locker etcdLockerFunc) (_ *Access, err error) {
	var sessions []*concurrency.Session
	closeAll := func() error {
		errs := []error{r.crashed()}
		for _, s := range sessions {
			errs = append(errs, s.Close(), s.Client().Close())
		}
		return errors.Join(errs...)
	}
	for range clients {
		c, err := r.client(endpoints...)
		if err != nil {
			return nil, errors.Join(err, closeAll())
		}
		s, err := concurrency.NewSession(c, concurrency.WithContext(context.WithoutCancel(ctx)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("etcd session: %w", err), c.Close(), closeAll())
		}
		sessions = append(sessions, s)
	}
	return &Access{
		Dial:  func(worker int) (load.Locker, error) { return locker(sessions[worker%clients], worker) },
		Close: closeAll,
	}, nil
}

// etcdTxn is the least that can be called a lock: a key that is put if it is absent,
// with a lease, and deleted. Whose it is is not looked at.
type etcdTxn struct {
	bare
	client *clientv3.Client
	lease  clientv3.LeaseID
	owner  string
}

func newEtcdTxn(s *concurrency.Session, worker int) (load.Locker, error) {
	return &etcdTxn{client: s.Client(), lease: s.Lease(), owner: fmt.Sprintf("worker-%d", worker)}, nil
}

func (l *etcdTxn) TryAcquire(ctx context.Context, name string) (bool, error) {
	resp, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(name), "=", 0)).
		Then(clientv3.OpPut(name, l.owner, clientv3.WithLease(l.lease))).
		Commit()
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

func (l *etcdTxn) Release(ctx context.Context, name string) error {
	_, err := l.client.Delete(ctx, name)
	return err
}

// etcdReader is etcdTxn that looks first: etcd writes transactions to its log
// whatever they decide, and a linearizable read it does not.
type etcdReader struct{ etcdTxn }

func newEtcdReader(s *concurrency.Session, worker int) (load.Locker, error) {
	return &etcdReader{etcdTxn{client: s.Client(), lease: s.Lease(), owner: fmt.Sprintf("worker-%d", worker)}}, nil
}

func (l *etcdReader) TryAcquire(ctx context.Context, name string) (bool, error) {
	resp, err := l.client.Get(ctx, name, clientv3.WithCountOnly())
	if err != nil || resp.Count > 0 {
		return false, err
	}
	return l.etcdTxn.TryAcquire(ctx, name)
}

// etcdMutex is etcd's own recipe.
type etcdMutex struct {
	bare
	session *concurrency.Session
	own     bool // the session is this worker's alone
	name    string
	mutex   *concurrency.Mutex // the last one, under that name
}

func newEtcdMutex(s *concurrency.Session, _ int) (load.Locker, error) {
	return &etcdMutex{session: s}, nil
}

// newEtcdWaiter gives the worker a session of its own: a Mutex tells sessions apart
// and nothing else.
func newEtcdWaiter(s *concurrency.Session, _ int) (load.Locker, error) {
	own, err := concurrency.NewSession(s.Client())
	return &etcdMutex{session: own, own: true}, err
}

func (l *etcdMutex) TryAcquire(ctx context.Context, name string) (bool, error) {
	l.name, l.mutex = name, concurrency.NewMutex(l.session, name)
	err := l.mutex.TryLock(ctx)
	if errors.Is(err, concurrency.ErrLocked) {
		return false, nil
	}
	return err == nil, err
}

func (l *etcdMutex) Lock(ctx context.Context, name string) error {
	l.name, l.mutex = name, concurrency.NewMutex(l.session, name)
	return l.mutex.Lock(ctx)
}

func (l *etcdMutex) Release(ctx context.Context, name string) error {
	if l.mutex == nil || l.name != name {
		return nil
	}
	if err := l.mutex.Unlock(ctx); err != nil && !errors.Is(err, concurrency.ErrLockReleased) {
		return err
	}
	return nil
}

func (l *etcdMutex) Close() error {
	if l.own {
		return l.session.Close()
	}
	return nil
}

// etcdProbe is a client of all nodes that tries until it is answered. Without a limit
// to each try, one that was sent to a node which had not noticed yet that the leader is
// gone would wait for seconds.
type etcdProbe struct {
	client *clientv3.Client
}

// Probe implements [Cluster].
func (r *etcdRunning) Probe(context.Context) (Probe, error) {
	c, err := r.client(r.endpoints...)
	return etcdProbe{c}, err
}

// Acquire takes another name with every try: one that was answered too late may have
// taken effect.
func (p etcdProbe) Acquire(ctx context.Context, name string) error {
	tries := 0
	return until(ctx, "acquire", func() error {
		tries++
		trying, cancel := context.WithTimeout(ctx, tryWithin)
		defer cancel()
		l := etcdTxn{client: p.client}
		ok, err := l.TryAcquire(trying, fmt.Sprintf("%s/%d", name, tries))
		if err == nil && !ok {
			err = errors.New("held, and nobody else wants it")
		}
		return err
	})
}

func (p etcdProbe) Close() error { return p.client.Close() }
