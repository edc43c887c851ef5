//go:build unix

package postgrestest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/semanode/sema/fence"
)

// database is one test's own: a fresh database with the tables of docs/fencing.md.
type database struct {
	*sql.DB
	t *testing.T
}

const reports = `CREATE TABLE report (
	id    bigint PRIMARY KEY,
	body  text   NOT NULL,
	token bigint NOT NULL CHECK (token > 0)
)`

func open(t *testing.T) database {
	t.Helper()
	skipWithoutServer(t)
	connect := func(name string) *sql.DB {
		db, err := sql.Open("pgx", fmt.Sprintf("host=%s user=postgres sslmode=disable dbname=%s", pg.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	admin := connect("postgres")
	defer admin.Close()
	name := fmt.Sprintf("test%d", time.Now().UnixNano())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	db := database{connect(name), t}
	t.Cleanup(func() { _ = db.Close() })
	db.must(fence.Schema)
	db.must(fence.Schema) // again and again
	db.must(reports)
	return db
}

// must runs a statement of the test's own making and returns the rows it changed.
func (db database) must(query string, args ...any) int64 {
	db.t.Helper()
	return changed(db.t, db, query, args...)
}

// begin opens a transaction that is rolled back when the test ends.
func (db database) begin(options *sql.TxOptions) *sql.Tx {
	db.t.Helper()
	tx, err := db.BeginTx(context.WithoutCancel(db.t.Context()), options)
	if err != nil {
		db.t.Fatal(err)
	}
	db.t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func (db database) commit(tx *sql.Tx) {
	db.t.Helper()
	if err := tx.Commit(); err != nil {
		db.t.Fatal(err)
	}
}

// wantReport checks the one report.
func (db database) wantReport(body string, token uint64) {
	db.t.Helper()
	var gotBody string
	var gotToken uint64
	if err := db.QueryRowContext(db.t.Context(), "SELECT body, token FROM report WHERE id = 7").Scan(&gotBody, &gotToken); err != nil {
		db.t.Fatal(err)
	}
	if gotBody != body || gotToken != token {
		db.t.Errorf("the report is %q under token %d, want %q under %d", gotBody, gotToken, body, token)
	}
}

// untilBlocked returns when a session of this database waits for a lock.
func (db database) untilBlocked(what string) {
	db.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for waiting := 0; waiting == 0; {
		if time.Now().After(deadline) {
			db.t.Fatalf("%s: nobody waits for a lock", what)
		}
		// pg_sleep makes the question cost nothing much; it is the server that sleeps.
		err := db.QueryRowContext(db.t.Context(), `SELECT count(*) FROM pg_sleep(0.005), pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			db.t.Fatal(err)
		}
	}
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func run(t *testing.T, db execer, query string, args ...any) (int64, error) {
	t.Helper()
	result, err := db.ExecContext(context.WithoutCancel(t.Context()), query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func changed(t *testing.T, db execer, query string, args ...any) int64 {
	t.Helper()
	rows, err := run(t, db, query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return rows
}

func wantRows(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d rows changed, want %d", what, got, want)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
