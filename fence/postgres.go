package fence

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"

	"github.com/semanode/sema"
)

// Schema is the table of [Advance] and [Postgres], in PostgreSQL: one row per
// resource, with the highest token seen. It may be run again and again. A row that
// is deleted is forgotten, so delete only what will never be written again.
const Schema = `CREATE TABLE IF NOT EXISTS sema_fence (
	resource text   PRIMARY KEY,
	token    bigint NOT NULL CHECK (token > 0)
)`

// The row is locked until the transaction ends, also when WHERE is false, and
// WHERE is evaluated on the row's newest committed version. Equal tokens must
// update too: a row that is not updated is not counted.
const advance = `INSERT INTO sema_fence AS f (resource, token) VALUES ($1, $2)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token
WHERE f.token <= excluded.token`

// Advance opens a transaction's write to a resource: call it before everything
// else in tx, and everything that tx writes is done under the token. It makes
// token the highest of the resource in the table of [Schema], and locks the
// resource's row until tx ends: a transaction with another token waits for this
// one, so none can come between the check and the writes. Transactions with equal
// tokens wait for each other likewise.
//
// It returns an error that matches [ErrStale] if a higher token was seen: roll
// back. Tokens of zero and above 1<<63 - 1, the most that a bigint can hold, and
// resources that are no good as names are refused with [sema.ErrInvalid] before
// anything is sent. Every other error is the database's; under REPEATABLE READ or
// SERIALIZABLE a lost race is one of them (SQLSTATE 40001): begin again, and the
// next attempt tells.
//
// A transaction that advances several resources does so in one order everywhere,
// such as by name, or two may wait for each other.
func Advance(ctx context.Context, tx *sql.Tx, resource string, token uint64) error {
	return advanceRow(ctx, tx, resource, token)
}

// Postgres is a [Store] in the table of [Schema]: a [Gate] with it still knows
// the highest tokens after a restart. Each Advance is a transaction of its own, so
// it is no check of what is written to the database beside it: for that there is
// the function [Advance]. Errors are the same.
type Postgres struct {
	DB *sql.DB // any PostgreSQL driver
}

// Advance implements [Store].
func (p Postgres) Advance(ctx context.Context, resource string, token uint64) error {
	return advanceRow(ctx, p.DB, resource, token)
}

func advanceRow(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, resource string, token uint64) error {

	if err := checkResource(resource); err != nil {
		return err
	}
	if token == 0 || token > math.MaxInt64 {
		return &sema.InvalidError{Field: "token", Value: strconv.FormatUint(token, 10),
			Limit: "1 to 9223372036854775807, which is what a bigint can hold"}
	}
	result, err := db.ExecContext(ctx, advance, resource, int64(token))
	if err != nil {
		return fmt.Errorf("fence: advance %q to %d: %w", resource, token, err)
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("fence: advance %q to %d: %w", resource, token, err)
	}
	if rows == 0 {
		return fmt.Errorf("%w (resource %q, token %d)", ErrStale, resource, token)
	}
	return nil
}
