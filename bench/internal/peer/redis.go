//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/semanode/sema/bench/internal/proc"
	"github.com/semanode/sema/internal/load"
)

// redisPeer is one Redis server that syncs every write.
type redisPeer struct{ path string }

func (*redisPeer) Name() string { return "redis" }

func (p *redisPeer) Find(ctx context.Context) (About, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return About{}, fmt.Errorf("redis-server: %w (Debian: apt-get install redis-server)", ErrAbsent)
	}
	text, err := proc.Run(ctx, proc.Spec{Path: path, Args: []string{"--version"}})
	if err != nil {
		return About{}, err
	}
	p.path = path
	if match := regexp.MustCompile(`v=(\S+)`).FindStringSubmatch(text); match != nil {
		text = match[1]
	}
	return About{Name: "Redis", Version: text, Settings: "one process, no replica; appendonly yes, appendfsync always, no snapshots; otherwise default"}, nil
}

func (p *redisPeer) Start(ctx context.Context, dir string) (Running, error) {
	addrs, err := proc.FreePorts(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	server, err := proc.Start(proc.Spec{
		Path: p.path, Dir: dir, Ready: "Ready to accept connections",
		Args: []string{"--bind", host, "--port", port, "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", ""},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := server.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	return &redisRunning{server: server, addr: addrs[0]}, nil
}

// redisRunning is a server that serves.
type redisRunning struct {
	server *proc.Process
	addr   string
}

func (r *redisRunning) Stop() error { return r.server.Stop(syscall.SIGTERM, stopWithin) }

// Ways implements [Running].
func (r *redisRunning) Ways(mode load.Mode) []Way {
	const column = "Redis"
	if mode == load.Handoff {
		return []Way{
			{column, "asking again after 1 ms", r.pooled(redisPolls(time.Millisecond))},
			{column, "asking again after 10 ms", r.pooled(redisPolls(10 * time.Millisecond))},
			{column, "woken by BLPOP", r.pooled(func(l redisTry) load.Locker { return &redisWoken{redisTry: l} })},
		}
	}
	plain := func(l redisTry) load.Locker { return &l }
	return []Way{
		{column, "a connection for each worker", r.pooled(plain)},
		{column + ", pipelined", "automatic pipelining", r.pipelined(plain)},
	}
}

// redisLockerFunc makes a Locker of the tries that it is made of.
type redisLockerFunc func(redisTry) load.Locker

// pooled gives every worker a connection.
func (r *redisRunning) pooled(locker redisLockerFunc) func(context.Context, int) (*Access, error) {
	return func(ctx context.Context, workers int) (*Access, error) {
		return r.open(ctx, workers+1, func(c *redis.Client) (redis.Cmdable, error) { return c, nil }, locker)
	}
}

// pipelined sends what is waiting in one go, over few connections, as the client's
// own autopipelining does by default.
func (r *redisRunning) pipelined(locker redisLockerFunc) func(context.Context, int) (*Access, error) {
	return func(ctx context.Context, _ int) (*Access, error) {
		return r.open(ctx, 16, func(c *redis.Client) (redis.Cmdable, error) { return c.AutoPipeline() }, locker)
	}
}

func (r *redisRunning) open(ctx context.Context, pool int, commands func(*redis.Client) (redis.Cmdable, error), locker redisLockerFunc) (*Access, error) {
	c := redis.NewClient(&redis.Options{
		Addr: r.addr, PoolSize: pool, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, // this server has none
	})
	cmds, err := commands(c)
	var scripts redisScripts
	if err == nil {
		scripts, err = loadScripts(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Access{
		Dial: func(worker int) (load.Locker, error) {
			return locker(redisTry{cmds: cmds, scripts: scripts, owner: fmt.Sprintf("worker-%d", worker)}), nil
		},
		Close: func() error { return errors.Join(r.server.Err(), c.Close()) },
	}, nil
}
