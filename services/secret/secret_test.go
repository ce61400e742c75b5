package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
)

const canary = "CaNaRy-7f3e"

// shows says whether text holds the canary in a way that printing code might
// choose: as text, hexadecimal, decimal or base64.
func shows(text string) bool {
	decimal := make([]string, len(canary))
	hexes := make([]string, len(canary))
	for i := range len(canary) {
		decimal[i] = strconv.Itoa(int(canary[i]))
		hexes[i] = fmt.Sprintf("0x%x", canary[i])
	}
	plain := hex.EncodeToString([]byte(canary))
	for _, s := range []string{
		canary, plain, strings.ToUpper(plain), base64.StdEncoding.EncodeToString([]byte(canary)),
		strings.Join(decimal, " "), strings.Join(decimal, ","), strings.Join(hexes, ", "), strings.Join(hexes, " "),
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

type defined Bytes

type holder struct {
	Value   Bytes
	Pointer *Bytes
	Any     any
	List    []Bytes
	Map     map[string]*Bytes
	hidden  Bytes
	behind  *Bytes
}

type embedder struct {
	Bytes
	Other int
}

// carriers are values that hold the canary in every way that a program might.
func carriers() map[string]any {
	s := Copy([]byte(canary))
	h := holder{
		Value: *s, Pointer: s, Any: s, List: []Bytes{*s}, Map: map[string]*Bytes{"k": s},
		hidden: *s, behind: s,
	}
	d := defined(*s)
	return map[string]any{
		"value": *s, "pointer": s, "pointer to pointer": &s,
		"defined type": d, "pointer to defined type": &d,
		"struct": h, "pointer to struct": &h, "slice of structs": []holder{h}, "map of structs": map[string]*holder{"k": &h},
		"embedded": embedder{Bytes: *s}, "pointer to embedder": &embedder{Bytes: *s},
	}
}

func TestTheSearchFindsPlainBytes(t *testing.T) {
	type leaky struct{ hidden []byte }
	for _, verb := range []string{"%v", "%x", "%X", "%q", "%s", "%d", "%#v", "%# x"} {
		if text := fmt.Sprintf(verb, leaky{[]byte(canary)}); !shows(text) {
			t.Errorf("plain bytes printed with %s went unnoticed: %q", verb, text)
		}
	}
}

func TestFormatNeverShowsBytes(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%x", "%X", "%# x", "%s", "%q", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%T", "%!", "%20.3s"}
	for name, c := range carriers() {
		for _, verb := range verbs {
			if text := fmt.Sprintf(verb, c); shows(text) {
				t.Errorf("%s printed with %s shows the secret: %q", name, verb, text)
			}
		}
		if text := fmt.Sprint(c) + fmt.Sprintln(c) + fmt.Errorf("failed: %v", c).Error(); shows(text) {
			t.Errorf("%s shows the secret: %q", name, text)
		}
	}
}

func TestJSONAndSlogNeverShowBytes(t *testing.T) {
	for name, c := range carriers() {
		text, err := json.Marshal(c)
		if err != nil {
			t.Errorf("%s: json: %v", name, err)
		}
		if shows(string(text)) {
			t.Errorf("%s: json shows the secret: %s", name, text)
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "c", c, slog.Group("g", "c", c))
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "c", c, slog.Group("g", "c", c))
		if shows(out.String()) {
			t.Errorf("%s: slog shows the secret: %s", name, out.String())
		}
	}
}

func TestPrintsRedacted(t *testing.T) {
	s := Copy([]byte(canary))
	marshalled, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	object, err := json.Marshal(map[string]any{"s": s, "v": *s})
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		s.String():                                 redacted,
		s.GoString():                               redacted,
		string(marshalled):                         redacted,
		string(object):                             `{"s":"[redacted]","v":"[redacted]"}`,
		s.LogValue().String():                      redacted,
		fmt.Sprintf("%v %x %#v", s, *s, s):         "[redacted] [redacted] [redacted]",
		fmt.Sprintf("%+v", struct{ A Bytes }{*s}):  "{A:[redacted]}",
		fmt.Sprintf("%v", struct{ A *Bytes }{nil}): "{<nil>}",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTakeMovesAndCopyDoesNot(t *testing.T) {
	back := []byte(canary + canary)
	src := back[:len(canary)]
	c := Copy(src)
	c.Wipe()
	if string(src) != canary {
		t.Error("wiping a copy changed its source")
	}
	o := Take(src)
	defer o.Wipe()
	if string(o.Expose()) != canary {
		t.Error("Take lost the bytes")
	}
	if !bytes.Equal(back, make([]byte, len(back))) {
		t.Error("Take left bytes where they came from")
	}
}

func TestWipe(t *testing.T) {
	s := Copy([]byte(canary))
	exposed := s.Expose()
	twin := *s
	s.Wipe()
	if !bytes.Equal(exposed, make([]byte, len(canary))) {
		t.Error("what was wiped is not zero")
	}
	s.Wipe()
	if s.Expose() != nil || s.Len() != 0 || twin.Expose() != nil {
		t.Error("a wiped secret, or a copy of it, still has bytes")
	}
	part := []byte(canary)
	Wipe(part[:3])
	if string(part) != "\x00\x00\x00"+canary[3:] {
		t.Errorf("Wipe of a part made %q", part)
	}
	Wipe(nil)
}

func TestNilAndZero(t *testing.T) {
	var none *Bytes
	var zero Bytes
	none.Wipe()
	zero.Wipe()
	if none.Expose() != nil || none.Len() != 0 || zero.Expose() != nil || zero.Len() != 0 {
		t.Error("an empty secret has bytes")
	}
	if !none.Equal(nil) || !none.Equal(&zero) || !zero.Equal(New(0)) || none.Equal(New(1)) {
		t.Error("empty secrets compare wrongly")
	}
	if New(-1).Len() != 0 || New(3).Len() != 3 {
		t.Error("New made another length")
	}
	if fmt.Sprint(zero) != redacted {
		t.Error("an empty secret does not print as redacted")
	}
}

func TestEqual(t *testing.T) {
	a := Copy([]byte(canary))
	for i := range len(canary) {
		b := Copy([]byte(canary))
		b.Expose()[i] ^= 1
		if a.Equal(b) {
			t.Errorf("a secret equals one that differs in byte %d", i)
		}
	}
	if !a.Equal(Copy([]byte(canary))) || a.Equal(Copy([]byte(canary[1:]))) {
		t.Error("secrets compare wrongly")
	}
}
