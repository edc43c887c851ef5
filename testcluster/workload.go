package testcluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/testcluster/history"
	"github.com/semanode/sema/transport"
)

// Workload says what clients do while faults strike. The zero value is a good
// default.
type Workload struct {
	// Clients are on machines of their own. One more worker is inside each node. 4 if zero.
	Clients int
	// Workers is how many go about each client, one call at a time each. 2 if zero.
	Workers int
	// Semaphores is how many names they share. 4 if zero.
	Semaphores int
	// Think is how long a worker does nothing between two cycles, on average. 3 s if zero.
	Think time.Duration
	// Timeout is that of the shortest holds; others last up to four times as long.
	// 3 s if zero.
	Timeout time.Duration
}

func (w Workload) withDefaults() Workload {
	or := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	or(&w.Clients, 4)
	or(&w.Workers, 2)
	or(&w.Semaphores, 4)
	if w.Think == 0 {
		w.Think = 3 * time.Second
	}
	if w.Timeout == 0 {
		w.Timeout = 3 * time.Second
	}
	return w
}

func (w Workload) validate() error {
	return errors.Join(within("Workload.Clients", w.Clients, 1, maxWorkers), within("Workload.Workers", w.Workers, 1, maxWorkers),
		within("Workload.Semaphores", w.Semaphores, 1, 1<<20), within("Workload.Think", w.Think, time.Millisecond, maxDuration),
		within("Workload.Timeout", w.Timeout, sema.MinTimeout, sema.MaxTimeout/4))
}

// worker does what users do, one thing after the other, and writes down what it
// sees.
type worker struct {
	Workload
	id     string
	client *client.Client
	svc    sema.Service // holds of its own
	rec    *history.Recorder
	chance *rand.Rand
	stop   context.Context // no new calls after its end; those that wait in line end with it
	count  int
	old    []history.Op // acquires that were granted, for calls that come too late
}

func newWorker(w Workload, id string, cl *client.Client, rec *history.Recorder, seed uint64, stop context.Context) *worker {
	return &worker{Workload: w, id: id, client: cl, svc: cl.Fork(), rec: rec, stop: stop,
		chance: rand.New(rand.NewPCG(seed, 6))}
}

// run works until the end, or until over says so.
func (w *worker) run(over func() bool) {
	for w.pause(w.Think) && !over() {
		w.cycle()
	}
}

// pause waits for a random time, and reports whether to go on.
func (w *worker) pause(mean time.Duration) bool {
	select {
	case <-time.After(time.Duration(w.chance.ExpFloat64() * float64(mean))):
		return w.stop.Err() == nil
	case <-w.stop.Done():
		return false
	}
}

// cycle is one of the things that users do.
func (w *worker) cycle() {
	name := fmt.Sprintf("s%d", w.chance.IntN(w.Semaphores)+1)
	timeout := w.Timeout + time.Duration(w.chance.Int64N(int64(3*w.Timeout)))
	switch p := w.chance.IntN(100); {
	case p < 25:
		w.poll(name, timeout)
	case p < 45:
		w.wait(name, timeout)
	case p < 70:
		w.lock(name, timeout)
	case p < 79:
		w.get(name)
	case p < 82:
		w.list()
	case p < 88:
		w.stale(name)
	case p < 98:
		w.late()
	default:
		w.force(name)
	}
}

// begin records a call and returns a context for it, its end and its record.
func (w *worker) begin(op history.Op) (context.Context, context.CancelFunc, *history.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second+time.Duration(w.chance.Int64N(int64(10*time.Second))))
	op.Client = w.id
	return ctx, cancel, w.rec.Begin(op)
}

// end records what came of a call.
func end(call *history.Call, info sema.Info, err error) history.Outcome {
	outcome, _ := history.Classify(err)
	call.End(outcome, info, err)
	return outcome
}

// asking is the op of an acquire, with an owner that nobody else has.
func (w *worker) asking(kind history.Kind, name string, timeout time.Duration) history.Op {
	w.count++
	return history.Op{Kind: kind, Name: name, Owner: fmt.Sprintf("%s-%d", w.id, w.count), Timeout: timeout}
}

func (w *worker) poll(name string, timeout time.Duration) {
	op := w.asking(history.Acquire, name, timeout)
	ctx, cancel, call := w.begin(op)
	defer cancel()
	info, err := w.svc.Acquire(ctx, name, op.Owner, timeout)
	w.granted(op, info, end(call, info, err))
}

func (w *worker) wait(name string, timeout time.Duration) {
	op := w.asking(history.Wait, name, timeout)
	ctx, cancel, call := w.begin(op)
	defer cancel()
	defer context.AfterFunc(w.stop, cancel)()
	info, err := w.svc.(sema.Waiter).AcquireWait(ctx, name, op.Owner, timeout, func(p sema.Place) { call.Placed(p.Position) })
	w.granted(op, info, end(call, info, err))
}

// granted goes on after an acquire: it holds for a while, touches or does not, and
// releases or forgets to. If it does not know what it has it may give it up.
func (w *worker) granted(op history.Op, info sema.Info, outcome history.Outcome) {
	switch {
	case outcome == history.Unknown && w.chance.IntN(3) > 0:
		w.release(op.Name, 0)
		return
	case outcome != history.OK || info.Status != sema.Acquired:
		return
	}
	op.Token = info.Token
	w.remember(op)
	for w.chance.IntN(3) > 0 && w.pause(op.Timeout/2) {
		if w.touch(op) == history.Failed {
			return
		}
	}
	if w.pause(op.Timeout/3) && w.chance.IntN(10) > 0 {
		w.release(op.Name, op.Token)
	}
}

func (w *worker) remember(op history.Op) {
	if w.old = append(w.old, op); len(w.old) > 4 {
		w.old = w.old[1:]
	}
}

func (w *worker) touch(op history.Op) history.Outcome {
	ctx, cancel, call := w.begin(history.Op{Kind: history.Touch, Name: op.Name, Token: op.Token})
	defer cancel()
	info, err := w.svc.Touch(ctx, op.Name)
	return end(call, info, err)
}

func (w *worker) release(name string, token uint64) {
	ctx, cancel, call := w.begin(history.Op{Kind: history.Release, Name: name, Token: token})
	defer cancel()
	end(call, sema.Info{}, w.svc.Release(ctx, name))
}

// lock uses a handle, for as long as its context lets it.
func (w *worker) lock(name string, timeout time.Duration) {
	op := w.asking(history.Wait, name, timeout)
	ctx, cancel, call := w.begin(op)
	defer cancel()
	ctx, release := context.WithCancel(context.WithoutCancel(ctx)) // the handle ends with its context
	defer release()
	defer context.AfterFunc(w.stop, release)()
	opts := client.LockOptions{Owner: op.Owner, Timeout: timeout, Wait: 15 * time.Second, WindDown: time.Duration(w.chance.IntN(2)) * timeout / 5,
		Notify: func(p sema.Place) { call.Placed(p.Position) }}
	acquire := w.client.Lock
	if w.chance.IntN(4) == 0 {
		acquire, opts.Wait, opts.Notify = w.client.TryLock, 0, nil
	}
	lock, err := acquire(ctx, name, opts)
	if err != nil {
		end(call, sema.Info{}, err)
		return
	}
	info := lock.Info()
	end(call, info, nil)
	op.Token = lock.Token()
	w.remember(op)
	held := w.rec.Hold(history.Hold{Op: call.ID(), Client: w.id, Name: name, Owner: op.Owner, Token: op.Token, WindDown: opts.WindDown})
	select {
	case <-lock.Context().Done():
	case <-time.After(time.Duration(w.chance.ExpFloat64() * float64(timeout))):
	}
	held.End(lock.Context().Err() != nil && w.stop.Err() == nil, w.rec.At(lock.Deadline()))
	ctx, cancelUnlock, call := w.begin(history.Op{Kind: history.Release, Name: name, Token: op.Token})
	defer cancelUnlock()
	end(call, sema.Info{}, lock.Unlock(ctx))
}

func (w *worker) get(name string) {
	ctx, cancel, call := w.begin(history.Op{Kind: history.Get, Name: name})
	defer cancel()
	info, err := w.client.Get(ctx, name)
	end(call, info, err)
}

// list is a get of every semaphore in one call.
func (w *worker) list() {
	calls := map[string]*history.Call{}
	for i := range w.Semaphores {
		name := fmt.Sprintf("s%d", i+1)
		calls[name] = w.rec.Begin(history.Op{Client: w.id, Kind: history.Get, Name: name})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	page, err := w.client.List(ctx, transport.ListRequest{Prefix: "s"})
	for _, info := range page.Infos {
		if call := calls[info.Name]; call != nil && err == nil {
			end(call, info, nil)
			delete(calls, info.Name)
		}
	}
	for _, call := range calls {
		if err == nil {
			end(call, sema.Info{}, sema.ErrNotFound)
		} else {
			end(call, sema.Info{}, err)
		}
	}
}

func (w *worker) stale(name string) {
	ctx, cancel, call := w.begin(history.Op{Kind: history.Stale, Name: name})
	defer cancel()
	info, err := w.client.GetStale(ctx, name)
	end(call, info, err)
}

// late touches or releases a hold of before, which may be long over.
func (w *worker) late() {
	if len(w.old) == 0 {
		return
	}
	op := w.old[w.chance.IntN(len(w.old))]
	kind := history.Touch
	if w.chance.IntN(2) == 0 {
		kind = history.Release
	}
	ctx, cancel, call := w.begin(history.Op{Kind: kind, Name: op.Name, Token: op.Token})
	defer cancel()
	if kind == history.Touch {
		info, err := w.client.TouchToken(ctx, op.Name, op.Token)
		end(call, info, err)
		return
	}
	_, err := w.client.ReleaseToken(ctx, op.Name, op.Token)
	end(call, sema.Info{}, err)
}

// force ends whatever stands, as an administrator would who has looked.
func (w *worker) force(name string) {
	ctx, cancel, call := w.begin(history.Op{Kind: history.Get, Name: name})
	defer cancel()
	info, err := w.client.Get(ctx, name)
	if end(call, info, err) != history.OK {
		return
	}
	ctx, cancelForce, call := w.begin(history.Op{Kind: history.Force, Name: name, Token: info.Token})
	defer cancelForce()
	info, err = w.client.ForceRelease(ctx, name, info.Token)
	if info.Owner == "" { // a repeated try found it gone and knows no more of it
		info = sema.Info{}
	}
	end(call, info, err)
}
