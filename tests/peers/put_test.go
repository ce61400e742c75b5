package peers

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// putSize is the bytes of one record, in every peer.
const putSize = 300

// A store keeps records; put returns when the record is durable and is called
// from many goroutines. count says how many are there, read back from the disk.
type store struct {
	put   func(record []byte) error
	count func() (int, error)
}

// putPeers are compared in BenchmarkPut. open makes an empty store and closes
// it in tb.Cleanup.
var putPeers = []struct {
	name string
	open func(tb testing.TB) store
}{
	{"append", openAppend},
	{"append-shared-sync", openSharedAppend},
	{"keychain", openKeychain},
	{"sqlite-wal-full", openSQLite},
	{"bbolt-update", openBolt},
}

// putWriters is how many goroutines put at once.
var putWriters = []int{1, 64}

// putAll puts n records, shared out among the writers.
func putAll(s store, writers, n int) error {
	record := bytes.Repeat([]byte{'x'}, putSize)
	errs := make([]error, writers)
	var done sync.WaitGroup
	for w := range writers {
		share := n / writers
		if w < n%writers {
			share++
		}
		done.Go(func() {
			for range share {
				if errs[w] = s.put(record); errs[w] != nil {
					return
				}
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPut measures one durable put; with many writers, the time in which
// one is done on average. The disk is the one behind TMPDIR.
func BenchmarkPut(b *testing.B) {
	for _, peer := range putPeers {
		for _, writers := range putWriters {
			b.Run(fmt.Sprintf("peer=%s/writers=%d", peer.name, writers), func(b *testing.B) {
				s := peer.open(b)
				b.ReportAllocs()
				b.ResetTimer()
				if err := putAll(s, writers, b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// TestPutPeers shows that every peer keeps every record.
func TestPutPeers(t *testing.T) {
	const records = 100
	for _, peer := range putPeers {
		t.Run(peer.name, func(t *testing.T) {
			s := peer.open(t)
			if err := putAll(s, 8, records); err != nil {
				t.Fatal(err)
			}
			if n, err := s.count(); n != records || err != nil {
				t.Fatalf("%d records, %v", n, err)
			}
		})
	}
}
