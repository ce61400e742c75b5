package vault

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

type vector struct {
	name, kind, expect, says string
	head, data               []byte
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, block := range strings.Split(string(text), "\n\n")[1:] {
		var v vector
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch key {
			case "name":
				v.name = value
			case "kind":
				v.kind = value
			case "expect":
				v.expect = value
			case "says":
				v.says = value
			case "head":
				v.head = unhex(t, value)
			case "data":
				v.data = append(v.data, unhex(t, value)...)
			default:
				if !strings.HasPrefix(line, "#") {
					t.Fatalf("vectors: %q", line)
				}
			}
		}
		all = append(all, v)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// class names an error as the vectors do.
func class(err error) string {
	var d *Damage
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &d) && errors.Is(err, ErrOlder):
		return fmt.Sprintf("older@%d", d.Offset)
	case errors.As(err, &d) && errors.Is(err, ErrDamaged):
		return fmt.Sprintf("damaged@%d", d.Offset)
	}
	for name, target := range map[string]error{
		"header": ErrHeader, "version": ErrVersion, "body": ErrBody, "head": ErrHead, "unauthentic": errUnauthentic,
	} {
		if errors.Is(err, target) {
			return name
		}
	}
	return err.Error()
}

func TestVectors(t *testing.T) {
	check := map[string]func(t *testing.T, v vector) (says string, err error){
		"header": headerVector, "body": bodyVector, "head": headVector, "vault": vaultVector,
	}
	count := map[string]int{}
	for _, v := range readVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			before := bytes.Clone(v.data)
			says, err := check[v.kind](t, v)
			got := class(err)
			if strings.HasPrefix(v.expect, "torn@") && err == nil {
				got = v.expect[:5] + says[strings.LastIndexByte(says, '@')+1:]
				says = says[:strings.LastIndexByte(says, ' ')]
			}
			if got != v.expect {
				t.Fatalf("got %s, want %s", got, v.expect)
			}
			if err == nil && says != v.says {
				t.Errorf("got  %s\nwant %s", says, v.says)
			}
			if !bytes.Equal(before, v.data) {
				t.Error("the input was changed")
			}
			count[v.kind]++
		})
	}
	for kind, least := range map[string]int{"header": 20, "body": 45, "head": 9, "vault": 70} {
		if count[kind] < least {
			t.Errorf("%d vectors of kind %s, want at least %d", count[kind], kind, least)
		}
	}
}

func headerVector(t *testing.T, v vector) (string, error) {
	h, err := DecodeHeader(v.data)
	if err != nil {
		return "", err
	}
	if again := h.Encode(); !bytes.Equal(again[:], v.data) {
		t.Errorf("encodes to %x", again)
	}
	kind := map[Kind]string{KindSegment: "segment", KindHead: "head"}[h.Kind]
	return fmt.Sprintf("%s %d %d %d %d %x", kind, h.Sequence, h.Batch, h.Start, h.Sealed, h.Chain), nil
}

func bodyVector(t *testing.T, v vector) (string, error) {
	records, err := DecodeBody(v.data)
	if err != nil {
		return "", err
	}
	if again, err := EncodeBody(records); err != nil || !bytes.Equal(again, v.data) {
		t.Errorf("encodes to %x, %v", again, err)
	}
	var says []string
	for _, r := range records {
		switch r.Kind {
		case Base:
			says = append(says, fmt.Sprintf("base %x %d %d", r.Key, r.Sequence, r.Usage))
		case Put:
			kind := map[bool]string{false: "put", true: "stale"}[r.Stale]
			says = append(says, fmt.Sprintf("%s %x %d %d %d %x", kind, r.Key, r.Sequence, r.Supersedes, r.Usage, r.Sealed))
		case Drop:
			says = append(says, fmt.Sprintf("drop %x %d %d", r.Key, r.Sequence, r.Usage))
		case Delete:
			says = append(says, fmt.Sprintf("delete %x %d %d %d %x", r.Key, r.Sequence, r.Supersedes, r.Usage, r.Sealed))
		}
	}
	return strings.Join(says, "; "), nil
}

func headVector(t *testing.T, v vector) (string, error) {
	p, err := openHead(v.data)
	if err != nil {
		return "", err
	}
	header, body := p.Head()
	if again := append(header[:], seal(header[:], body)...); !bytes.Equal(again, v.data) {
		t.Errorf("encodes to %x", again)
	}
	return fmt.Sprintf("%d %d %d %x %x", p.Sequence, p.Batch, p.Length, p.Chain, p.Vault), nil
}

func vaultVector(t *testing.T, v vector) (string, error) {
	var head *Point
	if v.head != nil {
		p, err := openHead(v.head)
		if err != nil {
			t.Fatal(err)
		}
		head = &p
	}
	r, _, err := read(v.data, head)
	if err != nil {
		return "", err
	}
	says := fmt.Sprintf("live=%d secrets=%d bytes=%d last=%d end=%d/%d/%d since=%d", len(r.Index.live),
		r.Index.Total().Secrets, r.Index.Total().Bytes, r.Index.Last(), r.End.Sequence, r.End.Batch, r.End.Length, r.Since)
	if r.Torn != strings.HasPrefix(v.expect, "torn@") {
		t.Errorf("torn is %v", r.Torn)
	}
	for _, sequence := range slices.Sorted(maps.Keys(r.Index.live)) {
		if r.Index.live[sequence].Stale {
			says += fmt.Sprintf(" stale=%d", sequence)
		}
	}
	if r.Torn {
		says += fmt.Sprintf(" @%d", r.End.Length)
	}
	return says, nil
}
