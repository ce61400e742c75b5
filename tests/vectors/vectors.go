// Package vectors gives tests the golden bytes in the JSON files beside it, which
// README.md describes, and sees to it that each of them is run.
//
// The table says which package owns which list of which file. A package's tests
// run its lists with one call of Run, which fails if a list is left out or is
// another one's; the tests here fail if a list is in no row, if an owner has no
// such call, or if a class of refusal is left to nobody. The package knows no
// format: what to make of the bytes is the owners' to say.
package vectors

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

//go:embed *.json
var files embed.FS

// A row is one list of a file, and a package whose tests run it.
type row struct {
	file, list, owner string
	least             int    // how many vectors there are at least
	leaves            string // the class that this owner cannot see, "" for none
}

var table = []row{
	{"header.json", "layout", "ipc/frame", 3, ""},
	{"header.json", "refused", "ipc/frame", 4, ""},
	{"header.json", "delivered", "ipc", 4, ""},
	{"envelope.json", "requests", "ipc/frame", 7, ""},
	{"envelope.json", "answers", "ipc/frame", 10, ""},
	{"route.json", "requests", "ipc/frame", 26, ""},
	{"route.json", "answers", "ipc/frame", 17, ""},
	// A token's bytes are capability's. Whether there is one, and which sessions
	// and boots there are, only the kernel knows, and it has to agree about the rest.
	{"token.json", "rows", "capability", 5, ""},
	{"token.json", "vectors", "capability", 30, "missing"},
	{"token.json", "rows", "ipc", 5, ""},
	{"token.json", "vectors", "ipc", 30, ""},
	{"ks1.json", "requests", "services/keystored/ks1", 50, ""},
	{"ks1.json", "responses", "services/keystored/ks1", 26, ""},
	{"guesses.json", "files", "services/identityd/guesses", 20, ""},
	{"guesses.json", "rows", "services/identityd/guesses", 7, ""},
	{"rngd.json", "requests", "ipc/wire", 17, ""},
	{"statefsd.json", "requests", "ipc/wire", 143, ""},
	{"policyd.json", "requests", "ipc/wire", 20, ""},
	{"identityd.json", "requests", "ipc/wire", 204, ""},
	{"keymintd.json", "requests", "ipc/wire", 339, ""},
	{"keystored.json", "requests", "ipc/wire", 105, ""},
}

// Hex is bytes that stand in the files as two hexadecimal digits each.
type Hex []byte

// UnmarshalText reads the digits.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// String returns the digits.
func (h Hex) String() string { return hex.EncodeToString(h) }

// A Vector is what vectors have in common. What a list has no use for is absent.
type Vector struct {
	Name, Why string
	Bytes     Hex
	Expect    string // OK, or the class of the refusal; "" where a list has nothing but good ones
}

// OK is the class of what is not refused.
const OK = "ok"

func (v Vector) base() Vector { return v }

func (v Vector) class() string {
	if v.Expect == "" {
		return OK
	}
	return v.Expect
}

// judge holds what a decoder made of the vector's bytes against what it should:
// the class, and the bytes again of what is good.
func (v Vector) judge(again []byte, class string) error {
	switch want := v.class(); {
	case class != want:
		return fmt.Errorf("%s, want %s (%s)", class, want, v.Why)
	case want == OK && !bytes.Equal(again, v.Bytes):
		return fmt.Errorf("%x encodes to %x (%s)", v.Bytes, again, v.Why)
	case want != OK && len(again) != 0:
		return fmt.Errorf("refused, and read as %x (%s)", again, v.Why)
	}
	return nil
}

// vector is a struct that embeds Vector.
type vector interface{ base() Vector }

// Read returns one list of a file, in its order. Numbers of members without a
// type are json.Number. A member that V does not have fails the test.
func Read[V vector](tb testing.TB, file, list string) []V {
	tb.Helper()
	lists := read[map[string]json.RawMessage](tb, file, contents(tb, file))
	return read[[]V](tb, file+", "+list, lists[list])
}

// TokenKey is the key that seals the tokens of token.json.
func TokenKey(tb testing.TB) Hex {
	tb.Helper()
	members := read[map[string]json.RawMessage](tb, "token.json", contents(tb, "token.json"))
	return read[Hex](tb, "token.json, key", members["key"])
}

// Classes counts the vectors of a list by their classes.
func Classes(tb testing.TB, file, list string) map[string]int {
	tb.Helper()
	lists := read[map[string]json.RawMessage](tb, file, contents(tb, file))
	classes := make(map[string]int)
	for _, members := range read[[]map[string]any](tb, file+", "+list, lists[list]) {
		class, _ := members["expect"].(string)
		classes[Vector{Expect: class}.class()]++
	}
	return classes
}

func contents(tb testing.TB, file string) []byte {
	tb.Helper()
	text, err := files.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func read[T any](tb testing.TB, what string, text []byte) (v T) {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
	return v
}

// A Runner runs one list; Each and Decode make them.
type Runner struct {
	file, list string
	run        func(t *testing.T, leaves string)
}

// Each is a Runner that calls run for every vector of a list, in its order, as
// a test of the vector's name.
func Each[V vector](file, list string, run func(t *testing.T, v V)) Runner {
	return Runner{file, list, func(t *testing.T, leaves string) {
		for _, v := range Read[V](t, file, list) {
			if b := v.base(); leaves == "" || b.class() != leaves {
				t.Run(b.Name, func(t *testing.T) { run(t, v) })
			}
		}
	}}
}

// Decode is Each for decoders: decode reads the vector's bytes, holds what it
// read against the vector's other members, and returns it encoded again and OK,
// or nothing and the class of the refusal.
func Decode[V vector](file, list string, decode func(t *testing.T, v V) (again []byte, class string)) Runner {
	return Each(file, list, func(t *testing.T, v V) {
		if err := v.base().judge(decode(t, v)); err != nil {
			t.Error(err)
		}
	})
}

// Run runs the lists that a package of the module owns, in the order given. All
// of them must be there, and no others. It is called once by the owner's tests,
// with its path below the module as a literal, so that it can be found.
func Run(t *testing.T, owner string, runners ...Runner) {
	t.Helper()
	for _, wrong := range assigned(owner, runners) {
		t.Error(wrong)
	}
	for _, r := range runners {
		t.Run(r.file+","+r.list, func(t *testing.T) { r.run(t, rowOf(owner, r.file, r.list).leaves) })
	}
}

// assigned says which runners are not the owner's, and which are missing.
func assigned(owner string, runners []Runner) (wrong []string) {
	for i, r := range runners {
		same := func(other Runner) bool { return other.file == r.file && other.list == r.list }
		if rowOf(owner, r.file, r.list) == (row{}) || slices.ContainsFunc(runners[:i], same) {
			wrong = append(wrong, fmt.Sprintf("%s, %s is not for %s to run, or is run twice", r.file, r.list, owner))
		}
	}
	for _, w := range table {
		same := func(r Runner) bool { return r.file == w.file && r.list == w.list }
		if w.owner == owner && !slices.ContainsFunc(runners, same) {
			wrong = append(wrong, fmt.Sprintf("%s, %s is not run by %s", w.file, w.list, owner))
		}
	}
	return wrong
}

// rowOf is the row of a list and its owner, or no row.
func rowOf(owner, file, list string) row {
	for _, w := range table {
		if w.owner == owner && w.file == file && w.list == list {
			return w
		}
	}
	return row{}
}
