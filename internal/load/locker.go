package load

import "context"

// Locker is one worker's access to what is measured. It is used by one goroutine at
// a time. Its methods return soon after ctx ends. What the service cannot do is an
// error that matches [errors.ErrUnsupported]: a run that needs it then fails and
// says so.
type Locker interface {
	// TryAcquire tries once and never waits. It is false if somebody else holds,
	// and the same Locker under the same name is somebody else.
	TryAcquire(ctx context.Context, name string) (acquired bool, err error)
	// Touch prolongs what TryAcquire acquired.
	Touch(ctx context.Context, name string) error
	// Release ends what TryAcquire or Lock acquired, and what they may have acquired
	// when they returned an error. That there is nothing is no error.
	Release(ctx context.Context, name string) error
	// Lock waits until it holds. What it acquired is kept alive by the Locker until
	// Release.
	Lock(ctx context.Context, name string) error
	// Get asks who holds. That nobody does is no error.
	Get(ctx context.Context, name string) error
	// Close is called last, once.
	Close() error
}
