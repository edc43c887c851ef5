//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/semanode/sema/internal/load"
)

// redisScripts are the hashes under which the server knows scripts.
type redisScripts struct {
	release string // deletes a key if it has a value
	wake    string // the same, and leaves word for one who waits
}

func loadScripts(ctx context.Context, c *redis.Client) (s redisScripts, err error) {
	const release = `if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end return 0`
	const wake = `if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end
redis.call("del", KEYS[1], KEYS[2])
redis.call("lpush", KEYS[2], 1)
redis.call("pexpire", KEYS[2], 60000)
return 1`
	if s.release, err = c.ScriptLoad(ctx, release).Result(); err == nil {
		s.wake, err = c.ScriptLoad(ctx, wake).Result()
	}
	if err != nil {
		return s, fmt.Errorf("load scripts: %w", err)
	}
	return s, nil
}

// redisTry is SET NX PX, and a script that deletes what it set.
type redisTry struct {
	bare
	cmds    redis.Cmdable
	scripts redisScripts
	owner   string
}

func (l *redisTry) TryAcquire(ctx context.Context, name string) (bool, error) {
	err := l.cmds.SetArgs(ctx, name, l.owner, redis.SetArgs{Mode: "NX", TTL: holdFor}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

func (l *redisTry) Release(ctx context.Context, name string) error {
	return l.cmds.EvalSha(ctx, l.scripts.release, []string{name}, l.owner).Err()
}

// redisPolling asks again and again, after a pause that varies by a half, so that not
// all ask at once.
type redisPolling struct {
	redisTry
	every time.Duration
}

func redisPolls(every time.Duration) redisLockerFunc {
	return func(l redisTry) load.Locker { return &redisPolling{l, every} }
}

func (l *redisPolling) Lock(ctx context.Context, name string) error {
	for {
		if ok, err := l.TryAcquire(ctx, name); ok || err != nil {
			return err
		}
		if err := pause(ctx, l.every/2+rand.N(l.every)); err != nil {
			return err
		}
	}
}

// redisWoken waits for word in a list, which the one who releases leaves there, and
// then asks again: it may have been too slow.
type redisWoken struct{ redisTry }

func (l *redisWoken) Lock(ctx context.Context, name string) error {
	for {
		if ok, err := l.TryAcquire(ctx, name); ok || err != nil {
			return err
		}
		err := l.cmds.BLPop(ctx, time.Second, wakeList(name)).Err()
		if err != nil && !errors.Is(err, redis.Nil) { // Nil: nobody left word
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (l *redisWoken) Release(ctx context.Context, name string) error {
	return l.cmds.EvalSha(ctx, l.scripts.wake, []string{name, wakeList(name)}, l.owner).Err()
}

func wakeList(name string) string { return name + "/wake" }
