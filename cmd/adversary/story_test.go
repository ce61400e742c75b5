package adversary

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/cmd/scenario"
)

// FuzzStory: whatever the bytes are, they are a story that scenarios can be
// written in, always the same one, and it ends with a look at everything.
func FuzzStory(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		s, again := Keystored{}.Scenario(input), Keystored{}.Scenario(bytes.Clone(input))
		if !bytes.Equal(s.Text, again.Text) {
			t.Error("two stories of the same bytes")
		}
		read, err := scenario.Parse("story", s.Text)
		if err != nil {
			t.Fatal(err)
		}
		if read.Script != s.Script || read.Machine != s.Machine {
			t.Errorf("it is read as\n%s%+v", read.Script, read.Machine)
		}
		if !strings.HasSuffix(s.Script, "check\nshutdown\n") {
			t.Error("it has no ending")
		}
	})
}

// Each step and each part of a frame comes in some story: what no byte can say
// would never be tried.
func TestEverythingIsTold(t *testing.T) {
	var all strings.Builder
	for a := range 64 {
		for b := range 16 {
			input := []byte{0, byte(b)}
			for i := range 40 {
				input = append(input, byte(4*a+i*b), byte(i*i+b), byte(a*b+i*7))
			}
			all.WriteString(Keystored{}.Scenario(input).Script)
		}
	}
	text := all.String()
	for _, part := range []string{
		"try put alice/notes", "try get bob/notes", "try del bob/spy", "try list", "try steal", "try generate", "try sign", "try keys",
		"try delkey", "try launch bob/notes get,list", "try lock alice", "try end bob", "try unseal alice password wrong", "try shutdown",
		"async power power-cut", "try join", "try crash keystored", "try fault-crash", "try fault-drop", "try fault-delay",
		"try fault-exhaust", "try fault-disk", "try fault-power", `\x1b[2J`, "store Put", "store Get", "store Delete", "store List",
		"keys GenerateKey", "keys Sign", "keys PublicKey", "keys DeleteKey", "keys WrapKey", "keys UnwrapKey", "store 4", " 255 ", " own\n",
		" none\n", " old\n", " flip:", " of:alice/notes", " of:bob/",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no story has %q", part)
		}
	}
}

// Limits: steps in a story, and bytes that are read.
func TestLimits(t *testing.T) {
	const list = 8
	for n, want := range map[int]int{maxSteps - 1: maxSteps - 1, maxSteps: maxSteps, maxSteps + 1: maxSteps} {
		input := append([]byte{0, 0}, bytes.Repeat([]byte{list, 0}, n)...)
		script := Keystored{}.Scenario(input).Script
		told, _, _ := strings.Cut(script, "fault-none")
		if got := strings.Count(told, "try list alice/notes\n"); got != want {
			t.Errorf("%d steps are %d", n, got)
		}
	}
	long := bytes.Repeat([]byte{4, 1}, crash.MaxInput)
	if a, b := (Keystored{}).Scenario(long[:crash.MaxInput]), (Keystored{}).Scenario(long); !bytes.Equal(a.Text, b.Text) {
		t.Error("an input over the limit is another story")
	}
	for n, want := range map[int]int{maxBody - 1: maxBody - 1, maxBody: maxBody, maxBody + 1: maxBody} {
		in := source{}
		if got := len(in.mutate(make([]byte, n))); got != want {
			t.Errorf("a frame of %d bytes has %d", n, got)
		}
	}
	for n, want := range map[int][2]int{256: {255, 1}, 257: {255*256 + 7, 2}} {
		in := source{[]byte{255, 7, 9}}
		if got := in.below(n); got != want[0]%n || len(in.rest) != 3-want[1] {
			t.Errorf("below(%d) is %d, and leaves %d", n, got, len(in.rest))
		}
	}
	if in := (source{}); in.below(3) != 0 || fmt.Sprint(in.rest) != "[]" {
		t.Error("behind the end there is something")
	}
}
