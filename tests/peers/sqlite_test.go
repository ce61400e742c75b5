package peers

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// openSQLite puts each record in a transaction of its own, with a write-ahead
// log that is synced at every commit. SQLite has one writer at a time, so the
// pool has one connection and the writers wait for it.
func openSQLite(tb testing.TB) store {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(tb.TempDir(), "db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE kv (k INTEGER PRIMARY KEY, v BLOB NOT NULL)"); err != nil {
		tb.Fatal(err)
	}
	var mode string
	var synchronous int
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		tb.Fatalf("journal_mode %q, %v", mode, err)
	}
	if err := db.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		tb.Fatalf("synchronous %d, %v", synchronous, err)
	}
	insert, err := db.Prepare("INSERT INTO kv (v) VALUES (?)")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := insert.Close(); err != nil {
			tb.Error(err)
		}
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return store{
		put: func(record []byte) error {
			_, err := insert.Exec(record)
			return err
		},
		count: func() (n int, err error) {
			return n, db.QueryRow("SELECT count(*) FROM kv WHERE length(v) = ?", putSize).Scan(&n)
		},
	}
}
