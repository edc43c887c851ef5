package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fence"
)

// The sender puts the token of its hold on every request that writes.
func ExampleSetHeader() {
	hold := sema.Info{Name: "nightly-report", Token: 42} // from Acquire or Isolate

	r, err := http.NewRequest(http.MethodPut, "http://store.example/reports/7", strings.NewReader("..."))
	if err != nil {
		fmt.Println(err)
		return
	}
	fence.SetHeader(r, hold.Token)

	fmt.Println(r.Header.Get(fence.Header))
	// Output: 42
}

// One process is the only way to the reports: the gate checks and writes in one.
func ExampleGate() {
	gate := &fence.Gate{
		Resource: func(r *http.Request) string { return "reports/" + r.PathValue("id") },
		// Store: fence.Postgres{DB: db}, to know the tokens after a restart
	}
	mux := http.NewServeMux()
	mux.Handle("PUT /reports/{id}", gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := fence.FromContext(r.Context())
		fmt.Println("written under token", token)
	})))

	for _, token := range []uint64{41, 42, 41} { // 41 comes back from a pause
		r := httptest.NewRequest(http.MethodPut, "/reports/7", nil)
		fence.SetHeader(r, token)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// written under token 41
	// 200
	// written under token 42
	// 200
	// 412
}

// Several processes write to one database: the header is read here, and the token
// is checked where the write is.
func ExampleRequire() {
	save := func(ctx context.Context, token uint64) error { // see ExampleAdvance
		return fmt.Errorf("save report: %w", fence.ErrStale)
	}
	handler := fence.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := fence.FromContext(r.Context())
		if err := save(r.Context(), token); errors.Is(err, fence.ErrStale) {
			http.Error(w, err.Error(), fence.Status(err))
		}
	}))

	r := httptest.NewRequest(http.MethodPut, "/reports/7", nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r) // no token
	fmt.Println(w.Code)

	fence.SetHeader(r, 41)
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 428
	// 412
}

// A Store of one's own is one method. This one wraps another, to see its errors.
func ExampleStore() {
	store := loud{new(fence.Memory)}
	fmt.Println(store.Advance(context.Background(), "report", 42))
	fmt.Println(errors.Is(store.Advance(context.Background(), "report", 41), fence.ErrStale))
	// Output:
	// <nil>
	// logged: fence: stale token: somebody else has held the semaphore since, acquire again (resource "report", token 41, highest seen 42)
	// true
}

type loud struct{ fence.Store }

func (l loud) Advance(ctx context.Context, resource string, token uint64) error {
	err := l.Store.Advance(ctx, resource, token)
	if err != nil {
		fmt.Println("logged:", err)
	}
	return err
}

// A transaction whose writes to several tables stand or fall with the token.
func ExampleAdvance() {
	_ = func(ctx context.Context, db *sql.DB, hold sema.Info, body string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		if err := fence.Advance(ctx, tx, hold.Name, hold.Token); err != nil {
			return err // matches fence.ErrStale: nothing was written
		}
		if _, err := tx.ExecContext(ctx, "UPDATE report SET body = $1 WHERE id = 7", body); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO report_log (id, body) VALUES (7, $1)", body); err != nil {
			return err
		}
		return tx.Commit()
	}
}

// A gate that still knows the highest tokens after a restart.
func ExamplePostgres() {
	_ = func(ctx context.Context, db *sql.DB) (*fence.Gate, error) {
		if _, err := db.ExecContext(ctx, fence.Schema); err != nil {
			return nil, err
		}
		return &fence.Gate{Store: fence.Postgres{DB: db}}, nil
	}
}
