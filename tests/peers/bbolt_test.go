package peers

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

var bucket = []byte("kv")

// openBolt puts each record with Update: bbolt's Batch, with its defaults, is
// slower than that for 64 writers.
func openBolt(tb testing.TB) store {
	db, err := bolt.Open(filepath.Join(tb.TempDir(), "db"), 0o600, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return store{
		put: func(record []byte) error {
			return db.Update(func(tx *bolt.Tx) error {
				b := tx.Bucket(bucket)
				id, err := b.NextSequence()
				if err != nil {
					return err
				}
				return b.Put(binary.BigEndian.AppendUint64(nil, id), record)
			})
		},
		count: func() (n int, err error) {
			return n, db.View(func(tx *bolt.Tx) error {
				return tx.Bucket(bucket).ForEach(func(_, v []byte) error {
					if len(v) == putSize {
						n++
					}
					return nil
				})
			})
		},
	}
}
