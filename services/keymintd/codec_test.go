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
	if MaxLong != 65839 || MaxRecord != 4397 || BlobSize != 121 || rootWrapSize != 105 || rootEntrySize != 113 || saltSize != 70 {
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
		if err := r.add(fmt.Sprintf("key-%02d", i), allUses, testKey(fmt.Sprint(i)), MaxSigningKeys); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRingLimits(t *testing.T) {
	for n, want := range map[int]error{MaxSigningKeys - 2: nil, MaxSigningKeys - 1: nil, MaxSigningKeys: ipc.LimitReached} {
		r := fullRing(t, n)
		if err := r.add("one-more", allUses, testKey("x"), MaxSigningKeys); !errors.Is(err, want) {
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
	if err := r.add("key-01", allUses, testKey("new"), MaxSigningKeys); err != nil || r.keys[0].number != 4 {
		t.Errorf("the next key has number %d: %v", r.keys[0].number, err)
	}
	if err := r.add("key-01", allUses, testKey("newer"), MaxSigningKeys); !errors.Is(err, ipc.Exists) {
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
			if err := r.add(string(name), allUses, testKey(string(name)), MaxSigningKeys); err != nil && !errors.Is(err, ipc.Exists) {
				t.Fatal(err)
			}
		}
		id := fileID(testKey("names"), r.app)
		file := sealRing(under, &chance{}, testOwner, id, r)
		if len(file) > maxRingFile {
			t.Fatalf("a ring file of %d bytes", len(file))
		}
		got, err := openRing(under, testKey("names"), testOwner, id, file)
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
		k.seal(root)
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
	if k.has([]uint64{1, 3}) || !k.has([]uint64{9, 2}) {
		t.Error("has does not say which protectors there are")
	}
	if k.generation != 4 {
		t.Errorf("generation %d after four changes", k.generation)
	}
	if k.keep([]uint64{9, 2}); len(k.entries) != 2 || k.entries[0].id != 2 || k.entries[1].id != 9 {
		t.Errorf("kept %d", len(k.entries))
	}
}

func TestWipeTakesEverything(t *testing.T) {
	r := fullRing(t, 3)
	acct := &account{rootKeys: deriveSubkeys(testKey("root")), rings: map[string]*ring{r.app: r}}
	held := []*secret.Bytes{
		acct.rootKeys.rings, acct.rootKeys.names, acct.rootKeys.head, acct.rootKeys.chain.key, acct.rootKeys.chain.nonce,
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
		{}: {MaxSigningKeys, MaxUserKeys, MaxApps},
		{SigningKeys: -1, UserSigningKeys: -1, Apps: -1}:   {MaxSigningKeys, MaxUserKeys, MaxApps},
		{SigningKeys: 33, UserSigningKeys: 513, Apps: 129}: {MaxSigningKeys, MaxUserKeys, MaxApps},
		{SigningKeys: 32, UserSigningKeys: 512, Apps: 128}: {32, 512, 128},
		{SigningKeys: 1, UserSigningKeys: 3, Apps: 2}:      {1, 3, 2},
	} {
		if got := in.withDefaults(); got != want {
			t.Errorf("%+v became %+v, want %+v", in, got, want)
		}
	}
}

// testSigner is a signing key beside any ring.
func testSigner() signingKey {
	return signingKey{
		name: "signer", purpose: purposeSigning, uses: allUses, state: stateActive, version: 1, number: 1, seed: testKey("seed"),
	}
}

// old makes a key that is no longer active of one that is.
func old(k signingKey, state uint8) signingKey {
	k.state, k.public, k.seed = state, publicOf(k.seed), nil
	return k
}

// TestRingRules has one fault in each ring: what canonical refuses does not
// decode, and what it accepts comes back as it was.
func TestRingRules(t *testing.T) {
	active := func(name string, version uint32, number uint64) signingKey {
		k := testSigner()
		k.name, k.version, k.number = name, version, number
		return k
	}
	with := func(k signingKey, change func(k *signingKey)) signingKey {
		change(&k)
		return k
	}
	for _, c := range []struct {
		name string
		last uint64
		dead []byte
		keys []signingKey
		ok   bool
	}{
		{"one", 1, []byte{0}, []signingKey{active("a", 1, 1)}, true},
		{"two versions", 2, []byte{0}, []signingKey{old(active("a", 1, 1), stateRotated), active("a", 2, 2)}, true},
		{"two revoked versions", 9, []byte{3, 0}, []signingKey{old(active("a", 1, 1), stateRevoked), old(active("a", 2, 2), stateRevoked)}, true},
		{"one that was taken out", 2, []byte{0}, []signingKey{active("a", 1, 2)}, true},
		{"one that was destroyed", 2, []byte{1}, []signingKey{active("a", 1, 2)}, true},
		{"the last number", maxNumber, make([]byte, 512), []signingKey{active("a", 1, maxNumber)}, true},
		{"a number too many", maxNumber + 1, make([]byte, 513), []signingKey{active("a", 1, 1)}, false},
		{"an active one that is dead", 1, []byte{1}, []signingKey{active("a", 1, 1)}, false},
		{"a revoked one that is not dead", 1, []byte{0}, []signingKey{old(active("a", 1, 1), stateRevoked)}, false},
		{"a dead one beyond the last", 1, []byte{2}, []signingKey{active("a", 1, 1)}, false},
		{"a number beyond the last", 1, []byte{0}, []signingKey{active("a", 1, 2)}, false},
		{"number 0", 1, []byte{0}, []signingKey{active("a", 1, 0)}, false},
		{"a number twice", 2, []byte{0}, []signingKey{active("a", 1, 1), active("b", 1, 1)}, false},
		{"names that do not ascend", 2, []byte{0}, []signingKey{active("b", 1, 1), active("a", 1, 2)}, false},
		{"version 0", 1, []byte{0}, []signingKey{active("a", 0, 1)}, false},
		{"a version twice", 2, []byte{0}, []signingKey{old(active("a", 1, 1), stateRotated), active("a", 1, 2)}, false},
		{"two active versions", 2, []byte{0}, []signingKey{active("a", 1, 1), active("a", 2, 2)}, false},
		{"a newest one that is rotated", 1, []byte{0}, []signingKey{old(active("a", 1, 1), stateRotated)}, false},
		{"one revoked version of two", 2, []byte{1}, []signingKey{old(active("a", 1, 1), stateRevoked), active("a", 2, 2)}, false},
		{"another purpose", 1, []byte{0}, []signingKey{with(active("a", 1, 1), func(k *signingKey) { k.purpose = 2 })}, false},
		{"no use", 1, []byte{0}, []signingKey{with(active("a", 1, 1), func(k *signingKey) { k.uses = 0 })}, false},
		{"an unknown use", 1, []byte{0}, []signingKey{with(active("a", 1, 1), func(k *signingKey) { k.uses = 4 })}, false},
		{"versions with different uses", 2, []byte{0}, []signingKey{
			with(old(active("a", 1, 1), stateRotated), func(k *signingKey) { k.uses = useSign }), active("a", 2, 2)}, false},
		{"an unknown state", 1, []byte{0}, []signingKey{old(active("a", 1, 1), 4)}, false},
		{"no generation", 0, nil, nil, false},
	} {
		r := newRing("demo.app", testKey("data"))
		r.last, r.dead, r.keys = c.last, c.dead, c.keys
		if c.name == "no generation" {
			r.generation = 0
		}
		plain := r.encode()
		got, err := decodeRing(plain.Expose())
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && !got.encode().Equal(plain) {
			t.Errorf("%s: comes back as another ring", c.name)
		}
	}
}

// TestRingHasRoom fills a ring with the longest names, versions and all numbers.
func TestRingHasRoom(t *testing.T) {
	for n, ok := range map[int]bool{maxEntries - 1: true, maxEntries: true, maxEntries + 1: false} {
		r := newRing(strings.Repeat("a", 64), testKey("data"))
		r.last, r.dead = maxNumber, make([]byte, maxNumber/8)
		k := testSigner()
		for i := range n {
			k.name, k.version, k.number = fmt.Sprintf("%0*d", MaxKeyName, min(i, MaxSigningKeys-1)), uint32(i+1), uint64(i+1)
			r.keys = append(r.keys, k)
			if i+1 < n && i >= MaxSigningKeys-1 {
				r.keys[i] = old(k, stateRotated)
			}
		}
		if _, err := decodeRing(r.encode().Expose()); (err == nil) != ok {
			t.Errorf("%d entries: %v", n, err)
		}
		if err := r.add("one-more", allUses, testKey("x"), maxEntries); !errors.Is(err, ipc.LimitReached) {
			t.Errorf("a key beyond the last number: %v", err)
		}
	}
	r := newRing("demo.app", testKey("data"))
	r.last, r.dead = maxNumber-1, make([]byte, maxNumber/8)
	if err := r.add("last", allUses, testKey("x"), MaxSigningKeys); err != nil {
		t.Errorf("the last number: %v", err)
	}
	if err := r.add("one-more", allUses, testKey("x"), MaxSigningKeys); !errors.Is(err, ipc.LimitReached) {
		t.Errorf("a number too many: %v", err)
	}
}
