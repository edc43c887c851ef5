//go:build unix

package postgrestest_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fence"
	"github.com/semanode/sema/fence/internal/storetest"
)

// selectForUpdate locks the row of a resource, if there is one.
const selectForUpdate = `SELECT token FROM sema_fence WHERE resource = $1 FOR UPDATE`

func TestPostgresStore(t *testing.T) { storetest.Run(t, fence.Postgres{DB: open(t).DB}) }

// The store has committed when it answers, and shares its table with Advance.
func TestPostgresStoreIsSeenByOthers(t *testing.T) {
	db := open(t)
	if err := (fence.Postgres{DB: db.DB}).Advance(t.Context(), "report", 9); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "another process, later", advance(t, db.begin(nil), 5), fence.ErrStale)
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	nowhere, err := sql.Open("pgx", "host=/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	store := fence.Postgres{DB: nowhere}
	for _, c := range []struct {
		resource string
		token    uint64
	}{
		{"report", 0}, {"report", math.MaxInt64 + 1}, {"report", math.MaxUint64},
		{"", 5}, {"re\x00port", 5}, {"\xff", 5}, {strings.Repeat("x", 513), 5},
	} {
		wantErr(t, "before anything is sent", store.Advance(t.Context(), c.resource, c.token), sema.ErrInvalid)
	}
	if err := store.Advance(t.Context(), "report", 5); err == nil || errors.Is(err, sema.ErrInvalid) || errors.Is(err, fence.ErrStale) {
		t.Errorf("no database: %v, want an error of its own", err)
	}
}

func TestLargestToken(t *testing.T) {
	db := open(t)
	wantErr(t, "the largest", advance(t, db.begin(nil), math.MaxInt64), nil)
}

// advance is what a holder's transaction begins with.
func advance(t *testing.T, tx *sql.Tx, token uint64) error {
	t.Helper()
	return fence.Advance(context.WithoutCancel(t.Context()), tx, "report", token)
}

// write is what comes after it.
func write(t *testing.T, tx *sql.Tx, body string, token uint64) error {
	t.Helper()
	_, err := run(t, tx, `INSERT INTO report VALUES (7, $1, $2)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body, token = excluded.token`, body, token)
	return err
}

// holder is a whole transaction of one.
func holder(t *testing.T, tx *sql.Tx, body string, token uint64) error {
	t.Helper()
	if err := advance(t, tx, token); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := write(t, tx, body, token); err != nil {
		return err
	}
	return tx.Commit()
}

func (db database) holderWrites(body string, token uint64) {
	db.t.Helper()
	wantErr(db.t, body, holder(db.t, db.begin(nil), body, token), nil)
}

func TestAdvanceStalledHolderIsRefused(t *testing.T) {
	db := open(t)
	db.holderWrites("old", 5)
	db.holderWrites("old, again", 5)
	db.holderWrites("new", 9)
	late := db.begin(nil)
	wantErr(t, "the stalled one, late", advance(t, late, 5), fence.ErrStale)
	db.commit(late) // even if it does not roll back
	db.wantReport("new", 9)
	wantErr(t, "equal", advance(t, db.begin(nil), 9), nil)
}

// The old one has begun, and read, when the new one comes and commits.
func TestAdvanceOldReadsFirst(t *testing.T) {
	for level, want := range map[sql.IsolationLevel]func(error) bool{
		sql.LevelReadCommitted:  func(err error) bool { return errors.Is(err, fence.ErrStale) },
		sql.LevelRepeatableRead: lostRace,
		sql.LevelSerializable:   lostRace,
	} {
		t.Run(level.String(), func(t *testing.T) {
			db := open(t)
			db.holderWrites("old", 5)
			options := &sql.TxOptions{Isolation: level}
			old := db.begin(options)
			var body string
			if err := old.QueryRow("SELECT body FROM report WHERE id = 7").Scan(&body); err != nil || body != "old" {
				t.Fatalf("the old one sees %q, %v", body, err)
			}
			db.holderWrites("new", 9)
			if err := advance(t, old, 5); !want(err) {
				t.Errorf("the old one's advance: %v", err)
			}
			_ = old.Rollback()
			wantErr(t, "the next attempt", advance(t, db.begin(options), 5), fence.ErrStale)
			db.wantReport("new", 9)
		})
	}
}

func lostRace(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "40001" && !errors.Is(err, fence.ErrStale)
}

// While one is between its check and its write, the other waits; also for a
// resource that nobody has written to yet, where there is no row to lock.
func TestAdvanceWaitsForTheOther(t *testing.T) {
	for name, first := range map[string]bool{"a resource that is known": false, "the first write": true} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			if !first {
				db.holderWrites("first", 3)
			}
			t.Run("new inside, old waits", func(t *testing.T) {
				newer := db.begin(nil)
				wantErr(t, "new", advance(t, newer, 9), nil)
				old := beside(t, db, 5)
				db.untilBlocked("the old one")
				wantErr(t, "new writes", write(t, newer, "new", 9), nil)
				db.commit(newer)
				wantErr(t, "old", <-old, fence.ErrStale)
				db.wantReport("new", 9)
			})
			t.Run("old inside, new waits and has the last word", func(t *testing.T) {
				old := db.begin(nil)
				wantErr(t, "old", advance(t, old, 11), nil)
				newer := beside(t, db, 13)
				db.untilBlocked("the new one")
				wantErr(t, "old writes", write(t, old, "old", 11), nil)
				db.commit(old)
				wantErr(t, "new", <-newer, nil)
				db.wantReport("waited", 13)
			})
			t.Run("new inside gives up, old goes on", func(t *testing.T) {
				newer := db.begin(nil)
				wantErr(t, "new", advance(t, newer, 21), nil)
				old := beside(t, db, 17)
				db.untilBlocked("the old one")
				if err := newer.Rollback(); err != nil {
					t.Fatal(err)
				}
				wantErr(t, "old", <-old, nil)
				db.wantReport("waited", 17)
			})
		})
	}
}

// beside runs a holder's transaction beside the test's own.
func beside(t *testing.T, db database, token uint64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	tx := db.begin(nil)
	go func() { done <- holder(t, tx, "waited", token) }()
	return done
}

// A transaction that is rolled back leaves no trace.
func TestAdvanceRolledBackIsForgotten(t *testing.T) {
	db := open(t)
	tx := db.begin(nil)
	wantErr(t, "new", advance(t, tx, 9), nil)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "old, after the new one gave up", advance(t, db.begin(nil), 5), nil)
}

// Why Advance does not begin with SELECT ... FOR UPDATE: where no row is, it locks
// nothing, and two first writers both pass.
func TestSelectForUpdate(t *testing.T) {
	db := open(t)
	look := func(tx *sql.Tx) (token uint64, err error) {
		err = tx.QueryRow(selectForUpdate, "report").Scan(&token)
		return token, err
	}
	old, newer := db.begin(nil), db.begin(nil)
	_, errOld := look(old)
	_, errNew := look(newer)
	if errOld != sql.ErrNoRows || errNew != sql.ErrNoRows {
		t.Errorf("both look at a row that is not there: %v, %v", errOld, errNew)
	}
	_, _ = old.Rollback(), newer.Rollback()

	db.holderWrites("first", 3)
	newer = db.begin(nil)
	if token, err := look(newer); token != 3 || err != nil {
		t.Fatalf("the new one sees token %d, %v", token, err)
	}
	seen := make(chan uint64, 1)
	old = db.begin(nil)
	go func() {
		token, _ := look(old)
		seen <- token
	}()
	db.untilBlocked("the old one's look")
	changed(t, newer, "UPDATE sema_fence SET token = 9 WHERE resource = $1", "report")
	db.commit(newer)
	if token := <-seen; token != 9 {
		t.Errorf("the old one sees token %d after the wait, want 9", token)
	}
}
