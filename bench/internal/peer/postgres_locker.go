//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/semanode/sema/internal/load"
)

// pooled lets workers share connections.
func (r *postgresRunning) pooled(most int32) func(context.Context, int) (*Access, error) {
	return func(ctx context.Context, workers int) (*Access, error) {
		cfg, err := pgxpool.ParseConfig(r.dsn)
		if err != nil {
			return nil, err
		}
		cfg.MaxConns = min(most, int32(workers)+1)
		pool, err := pgxpool.NewWithConfig(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return &Access{
			Dial: func(worker int) (load.Locker, error) {
				return &postgresRow{pool: pool, owner: fmt.Sprintf("worker-%d", worker)}, nil
			},
			Close: func() error { pool.Close(); return r.server.Err() },
		}, nil
	}
}

// postgresRow is a semaphore as a row that says who has it and until when.
type postgresRow struct {
	bare
	pool  *pgxpool.Pool
	owner string
	name  string // whose row exists for certain
	token int64  // of the last hold
}

// TryAcquire is one update, which writes nothing if the row is somebody else's.
func (l *postgresRow) TryAcquire(ctx context.Context, name string) (bool, error) {
	if l.name != name {
		if _, err := l.pool.Exec(ctx, `INSERT INTO semaphore (name) VALUES ($1) ON CONFLICT DO NOTHING`, name); err != nil {
			return false, err
		}
		l.name = name
	}
	err := l.pool.QueryRow(ctx, `UPDATE semaphore SET owner = $2, token = token + 1, expires = now() + $3
		WHERE name = $1 AND expires < now() RETURNING token`, name, l.owner, holdFor).Scan(&l.token)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (l *postgresRow) Release(ctx context.Context, name string) error {
	_, err := l.pool.Exec(ctx, `UPDATE semaphore SET owner = NULL, expires = '-infinity' WHERE name = $1 AND token = $2`, name, l.token)
	return err
}

// dedicated gives every worker a connection, which is what holds its lock: there is
// no timeout, and what the server sees of a holder is its connection.
func (r *postgresRunning) dedicated(locker func(*pgx.Conn) load.Locker) func(context.Context, int) (*Access, error) {
	return func(ctx context.Context, _ int) (*Access, error) {
		return &Access{
			Dial: func(int) (load.Locker, error) {
				conn, err := pgx.Connect(ctx, r.dsn)
				if err != nil {
					return nil, err
				}
				return locker(conn), nil
			},
			Close: func() error { return r.server.Err() },
		}, nil
	}
}

// postgresTx holds by a transaction that has locked a row.
type postgresTx struct {
	bare
	conn *pgx.Conn
	name string // whose row exists for certain
	tx   pgx.Tx // nil if there is none
}

func newPostgresTx(conn *pgx.Conn) load.Locker { return &postgresTx{conn: conn} }

func (l *postgresTx) Lock(ctx context.Context, name string) error {
	if l.name != name {
		if _, err := l.conn.Exec(ctx, `INSERT INTO semaphore (name) VALUES ($1) ON CONFLICT DO NOTHING`, name); err != nil {
			return err
		}
		l.name = name
	}
	tx, err := l.conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT FROM semaphore WHERE name = $1 FOR UPDATE`, name); err != nil {
		return errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	l.tx = tx
	return nil
}

func (l *postgresTx) Release(ctx context.Context, _ string) error {
	if l.tx == nil {
		return nil
	}
	err := l.tx.Commit(ctx)
	l.tx = nil
	return err
}

func (l *postgresTx) Close() error { return closeConn(l.conn) }

// postgresAdvisory holds by a lock in the server's memory, which writes nothing and
// belongs to the session.
type postgresAdvisory struct {
	bare
	conn *pgx.Conn
	held bool
}

func newPostgresAdvisory(conn *pgx.Conn) load.Locker { return &postgresAdvisory{conn: conn} }

func (l *postgresAdvisory) Lock(ctx context.Context, name string) error {
	_, err := l.conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, name)
	l.held = err == nil
	return err
}

func (l *postgresAdvisory) Release(ctx context.Context, name string) error {
	if !l.held { // a wait that was given up has closed the connection
		return nil
	}
	_, err := l.conn.Exec(ctx, `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, name)
	l.held = false
	return err
}

func (l *postgresAdvisory) Close() error { return closeConn(l.conn) }

func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return conn.Close(ctx)
}
