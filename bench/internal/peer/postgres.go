//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/semanode/sema/bench/internal/proc"
	"github.com/semanode/sema/internal/load"
)

// postgres is one PostgreSQL server.
type postgres struct {
	bin     string // directory of its programs
	waiters int
	as      *syscall.Credential // nil: as this user
}

// poolConnections is room for the pools of workers that share connections.
const poolConnections = 100

func (*postgres) Name() string { return "postgres" }

func (p *postgres) Find(ctx context.Context) (About, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return About{}, err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return About{}, fmt.Errorf("initdb: %w (Debian: apt-get install postgresql)", ErrAbsent)
	}
	p.bin = filepath.Dir(found[len(found)-1])
	if p.as, err = unprivileged(); err != nil {
		return About{}, err
	}
	text, err := proc.Run(ctx, proc.Spec{Path: filepath.Join(p.bin, "postgres"), Args: []string{"--version"}})
	if err != nil {
		return About{}, err
	}
	return About{Name: "PostgreSQL", Version: strings.TrimPrefix(text, "postgres (PostgreSQL) "), Settings: "one server, no replica; fsync and synchronous_commit on; otherwise default, but for as many connections as are used"}, nil
}

// unprivileged is a user to run the server as: it refuses to be root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errU, errG)
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

func (p *postgres) Start(ctx context.Context, dir string) (Running, error) {
	if p.as != nil {
		if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	data := filepath.Join(dir, "data")
	if _, err := proc.Run(ctx, proc.Spec{Path: filepath.Join(p.bin, "initdb"), Dir: dir, As: p.as,
		Args: []string{"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"}}); err != nil {
		return nil, err
	}
	addrs, err := proc.FreePorts(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	server, err := proc.Start(proc.Spec{
		Path: filepath.Join(p.bin, "postgres"), Dir: dir, As: p.as, OnOrphan: syscall.SIGQUIT, Ready: "ready to accept connections",
		Args: []string{"-D", data, "-c", "listen_addresses=" + host, "-c", "port=" + port, "-c", "unix_socket_directories=", "-c", "logging_collector=off",
			"-c", "max_connections=" + strconv.Itoa(p.waiters+poolConnections)},
	})
	if err != nil {
		return nil, err
	}
	r := &postgresRunning{server: server, dsn: fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", host, port)}
	if err = server.WaitReady(ctx); err == nil {
		err = r.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// postgresRunning is a server that serves.
type postgresRunning struct {
	server *proc.Process
	dsn    string
}

// Stop asks for an immediate shutdown: the data is thrown away.
func (r *postgresRunning) Stop() error { return r.server.Stop(syscall.SIGQUIT, stopWithin) }

// prepare makes the table. Room in its pages lets an update stay in its page, and so
// leave the index alone.
func (r *postgresRunning) prepare(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, r.dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, `CREATE TABLE semaphore (
	name text PRIMARY KEY,
	owner text,
	token bigint NOT NULL DEFAULT 0,
	expires timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50)`)
	return err
}

// Ways implements [Running].
func (r *postgresRunning) Ways(mode load.Mode) []Way {
	switch mode {
	case load.Handoff:
		return []Way{
			{"PostgreSQL, row lock", "a connection for each worker", r.dedicated(newPostgresTx)},
			{"PostgreSQL, advisory lock", "a connection for each worker", r.dedicated(newPostgresAdvisory)},
		}
	default:
		return []Way{
			{"PostgreSQL", "pool of 16 connections", r.pooled(16)},
			{"PostgreSQL", "pool of 64 connections", r.pooled(64)},
		}
	}
}
