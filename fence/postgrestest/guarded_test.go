//go:build unix

package postgrestest_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/semanode/sema/fence"
)

// The statements of docs/fencing.md.
const (
	guardedUpdate = `UPDATE report SET body = $1, token = $2 WHERE id = $3 AND token <= $2`

	guardedUpsert = `INSERT INTO report AS r (id, body, token) VALUES ($3, $1, $2)
ON CONFLICT (id) DO UPDATE SET body = excluded.body, token = excluded.token
WHERE r.token <= excluded.token`
)

// The documentation shows what is tested, and tests what it shows.
func TestDocumentation(t *testing.T) {
	for file, parts := range map[string][]string{
		"../../docs/fencing.md": {fence.Schema, reports, guardedUpdate, guardedUpsert, selectForUpdate},
		"../../README.md":       {guardedUpdate},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
		for _, part := range parts {
			if !strings.Contains(squeeze(string(text)), squeeze(part)) {
				t.Errorf("%s does not show\n%s", file, part)
			}
		}
	}
}

func TestGuardedStatements(t *testing.T) {
	for name, statement := range map[string]string{"update": guardedUpdate, "upsert": guardedUpsert} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			db.must(guardedUpsert, "first", uint64(5), 7)
			for _, step := range []struct {
				body  string
				token uint64
				rows  int64
			}{
				{"equal", 5, 1},
				{"lower", 4, 0},
				{"next holder", 9, 1},
				{"the stalled one, late", 5, 0},
				{"next holder again", 9, 1},
				{"last", math.MaxInt64, 1},
				{"before the last", math.MaxInt64 - 1, 0},
			} {
				before := report(t, db)
				wantRows(t, step.body, db.must(statement, step.body, step.token, 7), step.rows)
				if step.rows == 1 {
					db.wantReport(step.body, step.token)
				} else if after := report(t, db); after != before {
					t.Errorf("%s: the refused write made %s of %s", step.body, after, before)
				}
			}
		})
	}
}

// report is the whole row as the database keeps it, with its version: xmin is the
// transaction that wrote it.
func report(t *testing.T, db database) (row string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT r::text || ' ' || xmin FROM report r WHERE id = 7").Scan(&row); err != nil {
		t.Fatal(err)
	}
	return row
}

// An update of a row that is not there changes no row either.
func TestGuardedUpdateNeedsTheRow(t *testing.T) {
	db := open(t)
	wantRows(t, "an update without the row", db.must(guardedUpdate, "first", uint64(5), 7), 0)
	wantRows(t, "an upsert without the row", db.must(guardedUpsert, "first", uint64(5), 7), 1)
	db.wantReport("first", 5)
}

// The old holder looks first; the new one commits first; the old one writes.
func TestGuardedStatementsOldReadsFirst(t *testing.T) {
	for name, statement := range map[string]string{"update": guardedUpdate, "upsert": guardedUpsert} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			db.must(guardedUpsert, "first", uint64(5), 7)
			old := db.begin(nil)
			var seen uint64
			if err := old.QueryRow("SELECT token FROM report WHERE id = 7").Scan(&seen); err != nil || seen != 5 {
				t.Fatalf("the old one sees token %d, %v", seen, err)
			}
			wantRows(t, "new", db.must(statement, "new", uint64(9), 7), 1)
			wantRows(t, "old", changed(t, old, statement, "old", uint64(5), 7), 0)
			db.commit(old)
			db.wantReport("new", 9)
		})
	}
}

// The old one's statement finds the new one's row locked, waits, and decides on
// what was committed: nothing changed if the new one commits, a write if it does not.
func TestGuardedStatementsOldWaits(t *testing.T) {
	for name, statement := range map[string]string{"update": guardedUpdate, "upsert": guardedUpsert} {
		for end, want := range map[string]int64{"commit": 0, "rollback": 1} {
			t.Run(name+", "+end, func(t *testing.T) {
				db := open(t)
				db.must(guardedUpsert, "first", uint64(5), 7)
				newer := db.begin(nil)
				wantRows(t, "new", changed(t, newer, statement, "new", uint64(9), 7), 1)
				type answer struct {
					rows int64
					err  error
				}
				old := make(chan answer, 1)
				go func() {
					rows, err := run(t, db, statement, "old", uint64(5), 7)
					old <- answer{rows, err}
				}()
				db.untilBlocked("the old one's write")
				if end == "commit" {
					db.commit(newer)
				} else if err := newer.Rollback(); err != nil {
					t.Fatal(err)
				}
				got := <-old
				wantErr(t, "old", got.err, nil)
				wantRows(t, "old", got.rows, want)
				if want == 0 {
					db.wantReport("new", 9)
				} else {
					db.wantReport("old", 5)
				}
			})
		}
	}
}

// The mistake that the documentation warns of: the check in one statement, the
// write in another. Should it ever stop failing, the warning can go.
func TestTwoStatementsLetTheOldOneWin(t *testing.T) {
	db := open(t)
	db.must(guardedUpsert, "first", uint64(5), 7)
	old := db.begin(nil)
	var fresh bool
	if err := old.QueryRow("SELECT token <= $1 FROM report WHERE id = 7", uint64(5)).Scan(&fresh); err != nil || !fresh {
		t.Fatalf("the old one's check: %v, %v", fresh, err)
	}
	wantRows(t, "new", db.must(guardedUpdate, "new", uint64(9), 7), 1)
	wantRows(t, "old", changed(t, old, "UPDATE report SET body = $1 WHERE id = $2", "old", 7), 1)
	db.commit(old)
	db.wantReport("old", 9) // the old one's words under the new one's token
}

// A token that a bigint cannot hold is refused if it is given as uint64. A
// conversion wraps, and meets the CHECK of the table.
func TestTokensABigintCannotHold(t *testing.T) {
	db := open(t)
	db.must(guardedUpsert, "first", uint64(5), 7)
	for _, token := range []uint64{math.MaxInt64 + 1, math.MaxUint64} {
		for _, statement := range []string{guardedUpdate, guardedUpsert} {
			if _, err := run(t, db, statement, "huge", token, 7); err == nil {
				t.Errorf("token %d was taken as it is", token)
			}
		}
		if _, err := run(t, db, guardedUpsert, "wrapped", int64(token), 8); err == nil {
			t.Errorf("token %d was taken as %d", token, int64(token))
		}
	}
	db.wantReport("first", 5)
}
