package keymintd

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// seedWith adds the data of all vectors of one kind.
func seedWith(f *testing.F, kind string) {
	f.Helper()
	for _, fields := range readVectors(f) {
		if fields["kind"] == kind {
			data, err := hex.DecodeString(fields["data"])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

func typed(t *testing.T, err error) {
	t.Helper()
	if c := class(err); strings.HasPrefix(c, "unclassed") {
		t.Errorf("error without a class: %s", c)
	}
}

func FuzzSalt(f *testing.F) {
	seedWith(f, "salt")
	f.Fuzz(func(t *testing.T, b []byte) {
		// A fuzzer does not find SHA-256 sums, so a right one is tried as well.
		for _, b := range [][]byte{b, appendSum(bytes.Clone(b))} {
			salt, err := decodeSalt(b)
			typed(t, err)
			if err == nil && !bytes.Equal(encodeSalt(&salt), b) {
				t.Error("accepted, but not what encodeSalt makes")
			}
		}
	})
}

func FuzzRootKeys(f *testing.F) {
	seedWith(f, "root")
	f.Fuzz(func(t *testing.T, b []byte) {
		of := testOwner
		if len(b) >= rootCount {
			of.incarnation = [Incarnation]byte(b[rootIncarnation:])
		}
		for _, b := range [][]byte{b, appendSum(bytes.Clone(b))} {
			k, err := decodeRootKeys(b, of)
			typed(t, err)
			if err != nil {
				continue
			}
			if !bytes.Equal(k.encode(), b) {
				t.Error("accepted, but not what encode makes")
			}
			for _, e := range k.entries {
				root, err := k.open(of, protector{e.id, make([]byte, KeySize)}, make([]byte, KeySize))
				typed(t, err)
				if err == nil || root != nil {
					t.Error("opened under a key that nobody used")
				}
			}
		}
	})
}

func FuzzRing(f *testing.F) {
	for _, n := range []int{0, 1, 3, MaxSigningKeys} {
		r := newRing("demo.app", testKey("data"))
		for i := range n {
			if err := r.add(strings.Repeat("k", i+1), allUses, testKey("seed"), MaxSigningKeys); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(r.encode().Expose())
		for range maxFormer {
			r = r.renewed(testKey("next data"), fileID(testKey("names"), r.app))
			f.Add(r.encode().Expose())
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRing(b)
		typed(t, err)
		if err == nil && !bytes.Equal(r.encode().Expose(), b) {
			t.Error("accepted, but not what encode makes")
		}
	})
}

func FuzzKeyHead(f *testing.F) {
	for _, n := range []int{0, 1, MaxApps} {
		f.Add(testHead(n).encode().Expose())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeKeyHead(b)
		typed(t, err)
		if err == nil && !bytes.Equal(h.encode().Expose(), b) {
			t.Error("accepted, but not what encode makes")
		}
	})
}

func FuzzRecordPlain(f *testing.F) {
	f.Add(encodePlain("name", []byte("value")).Expose())
	f.Add(encodePlain(strings.Repeat("n", MaxName), make([]byte, MaxValue)).Expose())
	f.Add(encodePlain("name", make([]byte, MaxValue+1)).Expose())
	f.Add(make([]byte, leastBucket))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, version := range []uint8{recordVersion, longVersion} {
			name, value, err := decodePlain(version, b)
			typed(t, err)
			if err == nil && (versionOf(value) != version || !bytes.Equal(encodePlain(name, value).Expose(), b)) {
				t.Error("accepted, but not what encodePlain makes")
			}
		}
	})
}

// FuzzSealed gives arbitrary bytes to everything that opens sealed ones. Only
// what was sealed here may open.
func FuzzSealed(f *testing.F) {
	under, ad := testKey("under"), []byte("ad")
	r := newRing("demo.app", testKey("data"))
	names := testKey("names")
	id := fileID(names, r.app)
	chain := deriveSubkeys(testKey("root")).chain
	place := recordPlace{owner: testOwner, app: r.app, sequence: 1, kind: 1}
	golden := map[string][]byte{
		"wrap":    wrap(under, &chance{}, ad, []byte("plain")),
		"ring":    sealRing(under, &chance{}, testOwner, id, r),
		"blob":    sealBlob(r, &chance{}, testOwner, id, testSigner()),
		"keyhead": sealKeyHead(under, &chance{}, testOwner, testHead(2)),
		"record":  sealRecord(r.records, &chance{}, place, "name", []byte("value")),
		"segment": chain.seal(nil, &chance{}, segmentAD(testOwner, ad), []byte("body")),
	}
	for _, kind := range []string{"wrap", "ring", "blob", "keyhead", "record", "segment"} {
		f.Add(golden[kind])
		seedWith(f, kind)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		errs := make(map[string]error)
		_, errs["wrap"] = unwrap(under, ad, b)
		_, errs["ring"] = openRing(under, names, testOwner, id, b)
		_, errs["blob"] = openBlob(r, testOwner, id, b)
		_, errs["keyhead"] = openKeyHead(under, testOwner, b)
		_, _, errs["record"] = openRecord(r.records, place, b)
		_, errs["segment"] = chain.open(segmentAD(testOwner, ad), b)
		for kind, err := range errs {
			typed(t, err)
			if opened := err == nil; opened != bytes.Equal(b, golden[kind]) {
				t.Errorf("as a %s: %v", kind, err)
			}
		}
	})
}
