package vault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestNamesAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(newSeed(t), 1))
	var n Names
	model := map[string]uint64{}
	for i := range 2000 {
		name := fmt.Sprintf("%c%d", 'a'+rng.IntN(3), rng.IntN(40))
		if rng.IntN(3) == 0 {
			n.Remove(name)
			delete(model, name)
		} else {
			n.Set(name, uint64(i))
			model[name] = uint64(i)
		}
		got, ok := n.Find(name)
		if want, wantOK := model[name]; got != want || ok != wantOK {
			t.Fatalf("Find(%q) = %d, %v; want %d, %v", name, got, ok, want, wantOK)
		}
	}
	var want []string
	for name := range model {
		want = append(want, name)
	}
	slices.Sort(want)
	if got, more := n.Page("", 1<<20); more || !slices.Equal(got, want) {
		t.Errorf("page %v, want %v", got, want)
	}
	var paged []string
	for after, more := "", true; more; {
		var page []string
		page, more = n.Page(after, 40)
		if len(page) == 0 {
			t.Fatal("a page of nothing")
		}
		after = page[len(page)-1]
		paged = append(paged, page...)
	}
	if !slices.Equal(paged, want) {
		t.Errorf("pages %v, want %v", paged, want)
	}
}

func TestPageRoom(t *testing.T) {
	var n Names
	n.Set("aa", 1)
	n.Set("bb", 2)
	for room, want := range map[int]int{4: 0, 5: 1, 9: 1, 10: 2, 11: 2} {
		if names, more := n.Page("", room); len(names) != want || more != (want < 2) {
			t.Errorf("room %d: %v, %v", room, names, more)
		}
	}
	if names, more := n.Page("ab", 100); more || len(names) != 1 || names[0] != "bb" {
		t.Errorf("after a name that is not there: %v, %v", names, more)
	}
}

func TestNamesWipe(t *testing.T) {
	var n Names
	n.Set("secret-name", 1)
	n.Set("removed-name", 2)
	kept, gone := n.entries[1].name, n.entries[0].name
	n.Remove("removed-name")
	if !zeros(gone) {
		t.Error("a removed name is left in memory")
	}
	n.Wipe()
	if !zeros(kept) || n.Len() != 0 {
		t.Error("a name is left in memory")
	}
}

func TestPrefixTwins(t *testing.T) {
	var n Names
	twins := []string{"a", "a.", "a.x", "aa", "A"}
	for i, name := range twins {
		n.Set(name, uint64(i+1))
	}
	n.Remove("a")
	if _, ok := n.Find("a"); ok {
		t.Error("a is there")
	}
	for i, name := range twins[1:] {
		if got, ok := n.Find(name); !ok || got != uint64(i+2) {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	if _, ok := n.Find(strings.Repeat("a", 3)); ok {
		t.Error("aaa is there")
	}
}
