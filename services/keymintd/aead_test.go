package keymintd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"math/rand"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

var seedFlag = flag.Uint64("seed", 0, "replay one seed; NEXUS_SEED does the same")

// onlySeed answers the seed that was asked for, 0 for none.
func onlySeed(t *testing.T) uint64 {
	text := os.Getenv("NEXUS_SEED")
	if *seedFlag != 0 || text == "" {
		return *seedFlag
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// newRandom answers a source of test cases, and says which seed replays it.
func newRandom(t *testing.T) *rand.Rand {
	seed := onlySeed(t)
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewSource(int64(seed)))
}

func testKey(label string) *secret.Bytes {
	sum := sha256.Sum256([]byte(label))
	return secret.Take(sum[:])
}

var testOwner = owner{user: "alice", incarnation: [Incarnation]byte{1, 2, 3}}

// TestNonceNeverRepeats is the promise that matters most: under one key, under
// the worst chance there is, no nonce serves two plaintexts.
func TestNonceNeverRepeats(t *testing.T) {
	const n = 20000
	constant := &chance{}
	under := testKey("under")
	keys := newSealer(testKey("base"), "nexus record v1")
	seen := make(map[[nonceSize]byte]string, 3*n)
	note := func(what string, nonce []byte) {
		if before, twice := seen[[nonceSize]byte(nonce)]; twice {
			t.Fatalf("%s has the nonce of %s", what, before)
		}
		seen[[nonceSize]byte(nonce)] = what
	}
	value := make([]byte, 8)
	for i := range uint64(n) {
		binary.LittleEndian.PutUint64(value, i)
		at := strconv.FormatUint(i, 10)
		place := recordPlace{owner: testOwner, app: "demo", sequence: 1, kind: 1}
		note("value "+at, sealRecord(keys, constant, place, "n", value)[1:1+nonceSize])
		place.sequence = 2 + i
		note("place "+at, sealRecord(keys, constant, place, "n", nil)[1:1+nonceSize])
		if i < n/10 {
			note("wrap "+at, wrap(under, constant, []byte("ad"), value)[1:commitOffset])
		}
	}
	boundary := func(ad, plain string) {
		note(ad+"|"+plain, keys.seal(nil, constant, []byte(ad), []byte(plain))[:nonceSize])
	}
	boundary("ab", "c")
	boundary("a", "bc")
	boundary("", "abc")
	boundary("abc", "")
}

func TestSameChanceSameInputSameBytes(t *testing.T) {
	keys, c := newSealer(testKey("base"), "nexus record v1"), &chance{9}
	a, b := keys.seal(nil, c, []byte("ad"), []byte("p")), keys.seal(nil, c, []byte("ad"), []byte("p"))
	if !bytes.Equal(a, b) {
		t.Error("a repeated nonce went with different bytes")
	}
	if d := keys.seal(nil, &chance{8}, []byte("ad"), []byte("p")); bytes.Equal(a[:nonceSize], d[:nonceSize]) {
		t.Error("chance makes no difference to the nonce")
	}
}

// TestNobodySuppliesANonce looks at every message of the keys' schema, and at
// the shape of what makes nonces.
func TestNobodySuppliesANonce(t *testing.T) {
	messages := wire.File_keymint_proto.Messages()
	fields := 0
	for i := range messages.Len() {
		m := messages.Get(i)
		if !strings.HasSuffix(string(m.Name()), "Request") {
			continue
		}
		for j := range m.Fields().Len() {
			fields++
			if name := m.Fields().Get(j).Name(); suspicious(name) {
				t.Errorf("%s has a field %s", m.Name(), name)
			}
		}
	}
	if fields == 0 {
		t.Error("no field was looked at")
	}
	if kind := reflect.TypeFor[chance]().Kind(); kind != reflect.Array {
		t.Errorf("chance is a %v: a caller's bytes might pass for it", kind)
	}
}

func suspicious(name protoreflect.Name) bool {
	for _, word := range []string{"nonce", "iv", "salt", "random", "chance", "seed", "entropy"} {
		for part := range strings.SplitSeq(string(name), "_") {
			if part == word {
				return true
			}
		}
	}
	return false
}

func TestTupleIsInjective(t *testing.T) {
	lists := [][]string{{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"\x01\x00a"}, {"a\x00", "b"}, {"a", "\x00b"}}
	seen := make(map[string][]string)
	for _, list := range lists {
		parts := make([][]byte, len(list))
		for i, p := range list {
			parts[i] = []byte(p)
		}
		joined := string(tuple(parts...))
		if before, twice := seen[joined]; twice {
			t.Errorf("%q and %q have the same form", before, list)
		}
		seen[joined] = list
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	base := testKey("base")
	of2, of3 := testOwner, testOwner
	of2.user = "alicf"
	of3.incarnation[15] = 1
	auth, salt := bytes.Repeat([]byte{1}, KeySize), bytes.Repeat([]byte{2}, KeySize)
	sub := deriveSubkeys(base)
	records := newSealer(base, "nexus record v1")
	keys := map[string]*secret.Bytes{
		"base": base, "rings": sub.rings, "names": sub.names, "chain nonce": sub.chain.nonce, "chain key": sub.chain.key,
		"record nonce": records.nonce, "record key": records.key, "blobs": derive(base, "nexus data v1 blobs"),
		"kek": deriveKEK(auth, salt, testOwner, 1), "kek 2": deriveKEK(auth, salt, testOwner, 2),
		"kek of another user": deriveKEK(auth, salt, of2, 1), "kek of another incarnation": deriveKEK(auth, salt, of3, 1),
		"kek of another device": deriveKEK(auth, auth, testOwner, 1), "kek of another secret": deriveKEK(salt, salt, testOwner, 1),
		"encrypt": derive(base, "nexus wrap v1 encrypt", []byte("n")), "commit": derive(base, "nexus wrap v1 commit", []byte("n")),
		"encrypt 2": derive(base, "nexus wrap v1 encrypt", []byte("m")), "commit 2": derive(base, "nexus wrap v1 commit", []byte("m")),
	}
	for a, ka := range keys {
		if ka.Len() != KeySize {
			t.Errorf("%s has %d bytes", a, ka.Len())
		}
		for b, kb := range keys {
			if a != b && ka.Equal(kb) {
				t.Errorf("%s and %s are the same key", a, b)
			}
		}
	}
}

// TestEveryFlippedBitIsRefused goes through all bits of one wrap and one
// record.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	under, ad := testKey("under"), []byte("ad")
	wrapped := wrap(under, &chance{1}, ad, testKey("plain").Expose())
	keys := newSealer(testKey("base"), "nexus record v1")
	place := recordPlace{owner: testOwner, app: "demo", sequence: 1, kind: 1}
	record := sealRecord(keys, &chance{1}, place, "name", []byte("value"))
	for i := range wrapped {
		for bit := range 8 {
			bad := bytes.Clone(wrapped)
			bad[i] ^= 1 << bit
			want := errNotAuthentic
			switch {
			case i == 0:
				want = errLayout
			case i < sealedOffset:
				want = errWrongKey
			}
			if _, err := unwrap(under, ad, bad); !errors.Is(err, want) {
				t.Fatalf("bit %d of byte %d of a wrap: %v, want %v", bit, i, err, want)
			}
		}
	}
	for i := range record {
		for bit := range 8 {
			bad := bytes.Clone(record)
			bad[i] ^= 1 << bit
			if _, _, err := openRecord(keys, place, bad); err == nil {
				t.Fatalf("bit %d of byte %d of a record makes no difference", bit, i)
			}
		}
	}
	for n := range wrapped {
		if _, err := unwrap(under, ad, wrapped[:n]); err == nil {
			t.Fatalf("a wrap cut to %d bytes opens", n)
		}
	}
	for n := range record {
		if _, _, err := openRecord(keys, place, record[:n]); err == nil {
			t.Fatalf("a record cut to %d bytes opens", n)
		}
	}
}

func TestWipedKeysAreNotUsed(t *testing.T) {
	gone := testKey("gone")
	gone.Wipe()
	keys := newSealer(testKey("base"), "nexus record v1")
	keys.wipe()
	for name, use := range map[string]func(){
		"derive": func() { derive(gone, "x") },
		"mix":    func() { mix(gone, &chance{}, nil, nil) },
		"fileID": func() { fileID(gone, "app") },
		"seal":   func() { keys.seal(nil, &chance{}, nil, nil) },
		"open":   func() { _, _ = keys.open(nil, make([]byte, Overhead)) },
		"sign":   func() { sign(gone, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s goes on with a key that is gone", name)
				}
			}()
			use()
		}()
	}
}
