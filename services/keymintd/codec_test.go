package keymintd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/secret"
)

func TestRecordBuckets(t *testing.T) {
	for size, want := range map[int]int{
		5: 64, 63: 64, 64: 64, 65: 128, 128: 128, 129: 256, 2048: 2048, 2049: 4096, 4095: 4096, 4096: 4096,
		4097: 4356, 4355: 4356, 4356: 4356,
	} {
		if got := recordBucket(size); got != want {
			t.Errorf("%d bytes are padded to %d, want %d", size, got, want)
		}
	}
	for size, want := range map[int]int{
		4104: 8192, 8192: 8192, 8193: 16384, 65535: 65536, 65536: 65536, 65537: 65798, 65798: 65798,
	} {
		if got := longBucket(size); got != want {
			t.Errorf("%d bytes of a long record are padded to %d, want %d", size, got, want)
		}
	}
	if MaxLong != 65839 || MaxRecord != 4397 || BlobSize != 106 || rootWrapSize != 105 || rootEntrySize != 113 || saltSize != 70 {
		t.Error("a size is not the specification's")
	}
}

// TestRecordsOfEveryLength seals and opens records around every bucket's edge
// and looks at their lengths on the way.
func TestRecordsOfEveryLength(t *testing.T) {
	keys := newSealer(testKey("base"), "nexus record v1")
	place := recordPlace{owner: testOwner, app: "demo", sequence: 1, kind: 1}
	r := newRandom(t)
	for _, edge := range []int{64, 128, 256, 512, 1024, 2048, 4096, 4100} {
		for n := max(0, edge-8); n <= min(edge+2, MaxValue); n++ {
			name, value := strings.Repeat("n", 1+r.Intn(MaxName)), make([]byte, n)
			r.Read(value)
			record := sealRecord(keys, &chance{}, place, name, value)
			if want := 1 + Overhead + recordBucket(recordHeader+len(name)+n); len(record) != want {
				t.Fatalf("name %d, value %d: record of %d bytes, want %d", len(name), n, len(record), want)
			}
			gotName, gotValue, err := openRecord(keys, place, record)
			if err != nil || gotName != name || !bytes.Equal(gotValue, value) {
				t.Fatalf("name %d, value %d: %v", len(name), n, err)
			}
		}
	}
}

// TestLongRecords does the same for values over MaxValue, at every edge.
func TestLongRecords(t *testing.T) {
	keys := newSealer(testKey("base"), "nexus record v1")
	place := recordPlace{owner: testOwner, app: "demo", sequence: 1, kind: 1}
	r := newRandom(t)
	for _, edge := range []int{MaxValue + 8, 8192, 16384, 32768, MaxLongValue} {
		for n := edge - 8; n <= min(edge+2, MaxLongValue); n++ {
			name, value := strings.Repeat("n", 1+r.Intn(MaxName)), make([]byte, n)
			r.Read(value)
			record, size := sealRecord(keys, &chance{}, place, name, value), recordBucket(recordHeader+len(name)+n)
			if n > MaxValue {
				size = longBucket(longHeader + len(name) + n)
			}
			if len(record) != 1+Overhead+size || record[0] != versionOf(value) {
				t.Fatalf("name %d, value %d: record of %d bytes, version %d, want %d", len(name), n, len(record), record[0], 1+Overhead+size)
			}
			gotName, gotValue, err := openRecord(keys, place, record)
			if err != nil || gotName != name || !bytes.Equal(gotValue, value) {
				t.Fatalf("name %d, value %d: %v", len(name), n, err)
			}
		}
	}
}

func fullRing(t *testing.T, n int) *ring {
	t.Helper()
	r := newRing("demo.app", testKey("data"))
	for i := range n {
		if err := r.add(fmt.Sprintf("key-%02d", i), testKey(fmt.Sprint(i)), MaxSigningKeys); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRingLimits(t *testing.T) {
	for n, want := range map[int]error{MaxSigningKeys - 2: nil, MaxSigningKeys - 1: nil, MaxSigningKeys: ipc.LimitReached} {
		r := fullRing(t, n)
		if err := r.add("one-more", testKey("x"), MaxSigningKeys); !errors.Is(err, want) {
			t.Errorf("a key after %d: %v, want %v", n, err, want)
		}
		if want != nil && (len(r.keys) != n || r.last != uint64(n)) {
			t.Error("a refused key changed the ring")
		}
	}
	for n, want := range map[int]error{0: ipc.Malformed, 1: nil, MaxKeyName - 1: nil, MaxKeyName: nil, MaxKeyName + 1: ipc.TooLarge} {
		if err := checkKeyName(strings.Repeat("n", n)); !errors.Is(err, want) {
			t.Errorf("a name of %d bytes: %v, want %v", n, err, want)
		}
	}
	for _, name := range []string{"a b", "a\n", "\x1b[1m", "ä", "a\x00", " "} {
		if err := checkKeyName(name); !errors.Is(err, ipc.Malformed) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestRingNumbersAreNeverUsedAgain(t *testing.T) {
	r := fullRing(t, 3)
	for _, name := range []string{"key-02", "key-00", "key-01"} {
		if err := r.remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.remove("key-01"); !errors.Is(err, ipc.NotFound) {
		t.Errorf("removing again: %v", err)
	}
	if err := r.add("key-01", testKey("new"), MaxSigningKeys); err != nil || r.keys[0].number != 4 {
		t.Errorf("the next key has number %d: %v", r.keys[0].number, err)
	}
	if err := r.add("key-01", testKey("newer"), MaxSigningKeys); !errors.Is(err, ipc.Exists) {
		t.Errorf("the same name again: %v", err)
	}
}

// TestRandomRings makes rings of all sizes and takes them through their file.
func TestRandomRings(t *testing.T) {
	rnd := newRandom(t)
	under := testKey("under")
	for range 200 {
		r := newRing("demo."+strings.Repeat("a", 1+rnd.Intn(59)), testKey("data"))
		for range rnd.Intn(MaxSigningKeys + 1) {
			name := make([]byte, 1+rnd.Intn(MaxKeyName))
			for i := range name {
				name[i] = byte(0x21 + rnd.Intn(0x7f-0x21))
			}
			if err := r.add(string(name), testKey(string(name)), MaxSigningKeys); err != nil && !errors.Is(err, ipc.Exists) {
				t.Fatal(err)
			}
		}
		id := fileID(testKey("names"), r.app)
		file := sealRing(under, &chance{}, testOwner, id, r)
		if len(file) > maxRingFile {
			t.Fatalf("a ring file of %d bytes", len(file))
		}
		got, err := openRing(under, testOwner, id, r.app, file)
		if err != nil || !bytes.Equal(got.encode().Expose(), r.encode().Expose()) {
			t.Fatalf("%d keys: %v", len(r.keys), err)
		}
	}
}

func TestClonedRingIsApart(t *testing.T) {
	r := fullRing(t, 2)
	before := bytes.Clone(r.encode().Expose())
	c := r.clone()
	if !bytes.Equal(c.encode().Expose(), before) {
		t.Error("a clone differs")
	}
	if err := c.remove("key-00"); err != nil {
		t.Fatal(err)
	}
	c.wipe()
	if !bytes.Equal(r.encode().Expose(), before) {
		t.Error("changing and wiping a clone changed the ring")
	}
	if c.data.Len() != 0 || c.records.key.Len() != 0 || c.records.nonce.Len() != 0 || c.keys[0].seed.Len() != 0 {
		t.Error("a wiped ring still has keys")
	}
}

func TestRootKeysCore(t *testing.T) {
	salt, root := testKey("salt").Expose(), testKey("root")
	k := &rootKeys{incarnation: testOwner.incarnation}
	protectors := []protector{{5, testKey("5").Expose()}, {2, testKey("2").Expose()}, {9, testKey("9").Expose()}, {1, testKey("1").Expose()}}
	for _, p := range protectors {
		k.add(testOwner, p, salt, &chance{}, root)
		again, err := decodeRootKeys(k.encode(), testOwner)
		if err != nil {
			t.Fatalf("after protector %d: %v", p.id, err)
		}
		k = again
	}
	for _, p := range protectors {
		if got, err := k.open(testOwner, p, salt); err != nil || !got.Equal(root) {
			t.Errorf("protector %d: %v", p.id, err)
		}
		wrong := protector{p.id, testKey("wrong").Expose()}
		if got, err := k.open(testOwner, wrong, salt); !errors.Is(err, errWrongKey) || got != nil {
			t.Errorf("protector %d under a wrong secret: %v", p.id, err)
		}
	}
	before := k.encode()
	if err := k.keep([]uint64{1, 3}); !errors.Is(err, errNoProtector) || !bytes.Equal(k.encode(), before) {
		t.Errorf("keeping what is not there: %v", err)
	}
	if err := k.keep([]uint64{9, 2}); err != nil || len(k.entries) != 2 || k.entries[0].id != 2 || k.entries[1].id != 9 {
		t.Errorf("kept %d: %v", len(k.entries), err)
	}
}

func TestWipeTakesEverything(t *testing.T) {
	r := fullRing(t, 3)
	acct := &account{rootKeys: deriveSubkeys(testKey("root")), rings: map[string]*ring{r.app: r}}
	held := []*secret.Bytes{
		acct.rootKeys.rings, acct.rootKeys.names, acct.rootKeys.chain.key, acct.rootKeys.chain.nonce,
		r.data, r.records.key, r.records.nonce, r.keys[0].seed, r.keys[2].seed,
	}
	exposed := make([][]byte, len(held))
	for i, k := range held {
		exposed[i] = k.Expose()
	}
	acct.wipe()
	for i, b := range exposed {
		if held[i].Len() != 0 || !zero(b) {
			t.Errorf("key %d is still there", i)
		}
	}
	if len(acct.rings) != 0 || !acct.wiped {
		t.Error("a wiped account still has rings")
	}
}

func TestLimitsDefault(t *testing.T) {
	for in, want := range map[Limits]Limits{
		{}:                           {MaxSigningKeys, MaxApps},
		{SigningKeys: -1, Apps: -1}:  {MaxSigningKeys, MaxApps},
		{SigningKeys: 33, Apps: 129}: {MaxSigningKeys, MaxApps},
		{SigningKeys: 32, Apps: 128}: {32, 128},
		{SigningKeys: 1, Apps: 2}:    {1, 2},
	} {
		if got := in.withDefaults(); got != want {
			t.Errorf("%+v became %+v, want %+v", in, got, want)
		}
	}
}
