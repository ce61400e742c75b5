package vault

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestHeaderRefusesEveryFlippedBit(t *testing.T) {
	good := Header{Kind: KindSegment, Sequence: 7, Batch: 3, Start: 4096, Sealed: 296, Chain: Hash{1, 2, 3}}.Encode()
	for i := range HeaderSize * 8 {
		bad := good
		bad[i/8] ^= 1 << (i % 8)
		if _, err := DecodeHeader(bad[:]); !errors.Is(err, ErrHeader) {
			t.Errorf("bit %d: %v", i, err)
		}
	}
}

func TestBuckets(t *testing.T) {
	for _, c := range []struct{ n, want int }{
		{1, 256}, {255, 256}, {256, 256}, {257, 512}, {512, 512}, {513, 1024}, {1024, 1024}, {1025, 2048},
		{MaxBody - 1, MaxBody}, {MaxBody, MaxBody}, {MaxBody + 1, MaxBody + 1024},
	} {
		if got := bucket(c.n); got != c.want {
			t.Errorf("bucket(%d) = %d, want %d", c.n, got, c.want)
		}
	}
	for n := -1; n <= MaxBody; n++ {
		want := n == 256 || n == 512 || n > 0 && n%1024 == 0
		if isBucket(n) != want {
			t.Errorf("isBucket(%d) = %v", n, !want)
		}
	}
}

func TestBodyLimits(t *testing.T) {
	sized := func(n int) Record {
		return Record{Kind: Put, Sequence: 1, Usage: 1, Sealed: make([]byte, n)}
	}
	for _, c := range []struct {
		name string
		r    []Record
		ok   bool
	}{
		{"record n-1", []Record{sized(MaxRecord - 1)}, true},
		{"record n", []Record{sized(MaxRecord)}, true},
		{"large record 1", []Record{sized(MaxRecord + 1)}, true},
		{"large record n-1", []Record{sized(MaxLargeRecord - 1)}, true},
		{"large record n", []Record{sized(MaxLargeRecord)}, true},
		{"large record n+1", []Record{sized(MaxLargeRecord + 1)}, false},
		{"large record and another", []Record{sized(MaxRecord + 1), sized(1)}, false},
		{"large delete", []Record{{Kind: Delete, Sequence: 2, Supersedes: 1, Sealed: make([]byte, MaxRecord+1)}}, false},
		{"large usage n", []Record{{Kind: Put, Sequence: 1, Usage: maxLargeUsage, Sealed: make([]byte, MaxRecord+1)}}, true},
		{"large usage n+1", []Record{{Kind: Put, Sequence: 1, Usage: maxLargeUsage + 1, Sealed: make([]byte, MaxRecord+1)}}, false},
		{"two that fit", []Record{sized(MaxBody/2 - recordHeader), sized(MaxBody/2 - recordHeader)}, true},
		{"two that do not", []Record{sized(MaxBody/2 - recordHeader), sized(MaxBody/2 - recordHeader + 1)}, false},
		{"usage n-1", []Record{{Kind: Put, Sequence: 1, Usage: maxUsage - 1, Sealed: []byte{1}}}, true},
		{"usage n", []Record{{Kind: Put, Sequence: 1, Usage: maxUsage, Sealed: []byte{1}}}, true},
		{"usage n+1", []Record{{Kind: Put, Sequence: 1, Usage: maxUsage + 1, Sealed: []byte{1}}}, false},
		{"none", nil, false},
	} {
		body, err := EncodeBody(c.r)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v is no ErrBody", c.name, err)
		}
		if err == nil {
			back, err := DecodeBody(body)
			if err != nil || !reflect.DeepEqual(back, c.r) {
				t.Errorf("%s: what was encoded does not decode to the same: %v", c.name, err)
			}
		}
	}
}

func TestDecodeBodyDoesNotAlias(t *testing.T) {
	body, err := EncodeBody([]Record{{Kind: Put, Sequence: 1, Usage: 1, Sealed: []byte("ciphertext")}})
	if err != nil {
		t.Fatal(err)
	}
	records, err := DecodeBody(body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if string(records[0].Sealed) != "ciphertext" {
		t.Error("the record changed with the body")
	}
}

func TestSegmentFitsItsFrames(t *testing.T) {
	const frame, path, numbers = 8192, 64, 32
	for name, size := range map[string]int{
		"append": path + numbers + MaxSegment,
		"seal":   numbers + HeaderSize + MaxBody + SealOverhead,
	} {
		if size > frame {
			t.Errorf("%s takes %d bytes of a frame of %d", name, size, frame)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "header" {
			f.Add(v.data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHeader(b)
		if err != nil {
			if !errors.Is(err, ErrHeader) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if again := h.Encode(); !bytes.Equal(again[:], b[:HeaderSize]) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "body" {
			f.Add(v.data)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := DecodeBody(b)
		if err != nil {
			if !errors.Is(err, ErrBody) {
				t.Fatal(err)
			}
			return
		}
		if again, err := EncodeBody(records); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "head" && len(v.data) > HeaderSize {
			f.Add(v.data[:HeaderSize], v.data[HeaderSize:])
			if body, err := open(v.data[:HeaderSize], v.data[HeaderSize:]); err == nil {
				f.Add(v.data[:HeaderSize], body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, header, body []byte) {
		if h, s, err := SplitHead(append(bytes.Clone(header), body...)); err == nil && len(h)+len(s) != HeadSize {
			t.Fatal("a head of another size")
		}
		p, err := DecodeHead(header, body)
		if err != nil {
			return
		}
		if h, b := p.Head(); !bytes.Equal(h[:], header) || !bytes.Equal(b, body) {
			t.Fatalf("%x %x encodes to %x %x", header, body, h, b)
		}
	})
}
