package policyd

import (
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
)

func TestAuditLogKeepsTheNewest(t *testing.T) {
	for _, n := range []int{0, 1, MaxRecords - 1, MaxRecords, MaxRecords + 1, 3*MaxRecords + 7} {
		var log AuditLog
		for i := range n {
			r := log.Add(Record{Boot: 3, TimestampNS: ipc.Time(i + 1)})
			if r.Serial != uint64(i+1) {
				t.Fatalf("record %d has the number %d", i, r.Serial)
			}
		}
		kept, dropped := log.Records()
		if want := max(0, n-MaxRecords); dropped != uint64(want) || len(kept) != n-want {
			t.Fatalf("%d records: kept %d, dropped %d", n, len(kept), dropped)
		}
		for i, r := range kept {
			if r.TimestampNS != ipc.Time(int(dropped)+i+1) || r.Serial != dropped+uint64(i)+1 || r.ID() != fmt.Sprintf("p3-%d", r.Serial) {
				t.Fatalf("%d records: record %d is %d", n, i, r.TimestampNS)
			}
		}
	}
}

func TestDigestNeedsTheKey(t *testing.T) {
	a, b := [DigestKeySize]byte{1}, [DigestKeySize]byte{2}
	again := a
	if Digest(&a, "x") != Digest(&again, "x") || Digest(&a, "x") == Digest(&b, "x") || Digest(&a, "x") == Digest(&a, "y") {
		t.Error("a digest is not a function of key and target")
	}
	if d := Digest(&a, "secret"); len(d) != 32 || strings.Trim(d, "0123456789abcdef") != "" {
		t.Errorf("digest %q", d)
	}
}
