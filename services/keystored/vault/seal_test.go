package vault

import (
	"crypto/sha256"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"
)

var errUnauthentic = errors.New("unauthentic")

// tag is the stand-in's proof: whoever has it had header and body.
func tag(header, body []byte) []byte {
	h := sha256.New()
	h.Write([]byte("vector"))
	h.Write(header)
	h.Write(body)
	return h.Sum(nil)[:16]
}

// seal stands in for keymintd's SealSegment, as the vectors say.
func seal(header, body []byte) []byte {
	return append(append(make([]byte, 24), body...), tag(header, body)...)
}

// open is its inverse.
func open(header, sealed []byte) ([]byte, error) {
	if len(sealed) < SealOverhead {
		return nil, errUnauthentic
	}
	body := sealed[24 : len(sealed)-16]
	if !zeros(sealed[:24]) || string(tag(header, body)) != string(sealed[len(sealed)-16:]) {
		return nil, errUnauthentic
	}
	return body, nil
}

// testID is the id of the tests' vault.
var testID = ID{0xd0, 0xd1, 0xd2}

// newFile begins a new vault, and base is the record that it begins with.
func newFile() *Batch { return NewFile(NewVault(testID)) }

var base = Record{Kind: Base, Key: testID.Short()}

// openHead reads a head file as keystored does.
func openHead(file []byte) (Point, error) {
	header, sealed, err := SplitHead(file)
	if err != nil {
		return Point{}, err
	}
	body, err := open(header, sealed)
	if err != nil {
		return Point{}, err
	}
	return DecodeHead(header, body)
}

// read replays a whole file and counts what was to be opened.
func read(data []byte, head *Point) (result Result, opened int, err error) {
	r := NewReplay(data, head)
	for {
		s, more := r.Next()
		if !more {
			break
		}
		opened++
		if body, err := open(s.Header, s.Sealed); err == nil {
			r.Opened(body)
		} else {
			r.Unauthentic()
		}
	}
	result, err = r.Result()
	return result, opened, err
}

// addAll seals the records into the batch.
func addAll(t testing.TB, b *Batch, records []Record) [][]Record {
	t.Helper()
	groups := Group(records)
	for _, g := range groups {
		body, err := EncodeBody(g)
		if err != nil {
			t.Fatal(err)
		}
		header := b.Header(body)
		if err := b.Add(header, seal(header, body)); err != nil {
			t.Fatal(err)
		}
	}
	return groups
}

// file joins a batch's segments.
func file(b *Batch) []byte {
	var data []byte
	for _, s := range b.Segments() {
		data = append(data, s...)
	}
	return data
}

// newSeed answers the seed of a random test, which NEXUS_SEED sets.
func newSeed(t testing.TB) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("NEXUS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("NEXUS_SEED=%d", seed)
	return seed
}
