package recovery

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"
)

// vectors were made with the six lines of Python in docs/spec/identity.md.
var vectors = []struct {
	key  [Size]byte
	text string
}{
	{[Size]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "0000-0000-0000-0000-0000-0000-0000-0000-AXYZ"},
	{[Size]byte{0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0x9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13}, "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-KA1A"},
	{[Size]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-SHKK"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		var text [TextSize]byte
		if Write(&text, &v.key); string(text[:]) != v.text {
			t.Errorf("%x is %s, want %s", v.key, text, v.text)
		}
		var key [Size]byte
		if !Read(&key, []byte(v.text)) || key != v.key {
			t.Errorf("%s is read as %x", v.text, key)
		}
	}
}

// TestAsPeopleCopy reads what is not the text but means it.
func TestAsPeopleCopy(t *testing.T) {
	v := vectors[1]
	for _, text := range []string{
		strings.ToLower(v.text),
		strings.ReplaceAll(v.text, "-", ""),
		strings.ReplaceAll(v.text, "-", " "),
		strings.ReplaceAll(v.text, "0", "O"),
		strings.ReplaceAll(v.text, "0", "o"),
		strings.ReplaceAll(v.text, "1", "I"),
		strings.ReplaceAll(v.text, "1", "l"),
		"  " + v.text + " ",
	} {
		var key [Size]byte
		if !Read(&key, []byte(text)) || key != v.key {
			t.Errorf("%q is read as %x", text, key)
		}
	}
}

// TestMistakes changes one symbol, swaps two neighbours, or leaves one out or
// adds one: no such text is a key. A check of 20 bits lets one in a million of
// the swaps through, and these keys are fixed.
func TestMistakes(t *testing.T) {
	for _, v := range vectors {
		plain := strings.ReplaceAll(v.text, "-", "")
		wrong := []string{"", "-", plain[1:], plain + "0", plain[:len(plain)-1] + "U", plain[:len(plain)-1] + "\x00", plain[:len(plain)-1] + "é"}
		for i := range plain {
			for _, c := range alphabet {
				wrong = append(wrong, plain[:i]+string(c)+plain[i+1:])
			}
			if i > 0 {
				wrong = append(wrong, plain[:i-1]+plain[i:i+1]+plain[i-1:i]+plain[i+1:])
			}
		}
		for _, text := range wrong {
			var key [Size]byte
			if text != plain && Read(&key, []byte(text)) {
				t.Errorf("%q is a key as %s is", text, v.text)
			}
		}
	}
}

func TestEveryKeyComesBack(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 1000 {
		var key, back [Size]byte
		random.Read(key[:])
		var text [TextSize]byte
		Write(&text, &key)
		if !Read(&back, text[:]) || !bytes.Equal(key[:], back[:]) {
			t.Fatalf("%x is %s, which is %x", key, text, back)
		}
	}
}
