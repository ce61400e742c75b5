// Package recovery is the form in which a recovery key is written down: 160 bits
// in the base 32 of Crockford, with 20 bits that find mistakes. It is pure.
// docs/spec/identity.md specifies it.
package recovery

import (
	"crypto/sha256"

	"nexus.internal/os/services/secret"
)

// Sizes.
const (
	Size     = 20                          // bytes of a key
	Symbols  = (8*Size + 20) / 5           // of key and check together
	group    = 4                           // symbols between two hyphens
	TextSize = Symbols + Symbols/group - 1 // bytes of the text
)

// alphabet is Crockford's: without I, L, O and U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// label is hashed before the key, for its check.
const label = "nexus recovery v1"

// Write writes a key's text.
func Write(text *[TextSize]byte, key *[Size]byte) {
	secret.Do(func() {
		symbols := pack(key)
		at := 0
		for i, s := range symbols {
			if i > 0 && i%group == 0 {
				text[at] = '-'
				at++
			}
			text[at] = alphabet[s]
			at++
		}
	})
}

// Read reads a text as people copy it: in either case, with spaces and hyphens
// anywhere, with O for 0, and I or L for 1. It answers false, and leaves the key
// undefined, if the text is no key's.
func Read(key *[Size]byte, text []byte) (ok bool) {
	secret.Do(func() { ok = read(key, text) })
	return ok
}

func read(key *[Size]byte, text []byte) bool {
	var symbols [Symbols]byte
	n := 0
	for _, c := range text {
		if c == ' ' || c == '-' {
			continue
		}
		s, ok := symbol(c)
		if !ok || n == Symbols {
			return false
		}
		symbols[n] = s
		n++
	}
	if n != Symbols {
		return false
	}
	for i := range key {
		key[i] = byte(bits(&symbols, 8*i))
	}
	return symbols == pack(key)
}

// bits are eight bits of the symbols, from that one on.
func bits(symbols *[Symbols]byte, from int) (b int) {
	for i := from; i < from+8; i++ {
		b = b<<1 | int(symbols[i/5]>>(4-i%5)&1)
	}
	return b
}

// pack is a key and the first 20 bits of its digest, five bits a symbol.
func pack(key *[Size]byte) (symbols [Symbols]byte) {
	var hashed [len(label) + Size]byte
	copy(hashed[copy(hashed[:], label):], key[:])
	sum := sha256.Sum256(hashed[:])
	var all [Size + 3]byte
	copy(all[copy(all[:], key[:]):], sum[:])
	for i := range symbols {
		for j := 5 * i; j < 5*i+5; j++ {
			symbols[i] = symbols[i]<<1 | all[j/8]>>(7-j%8)&1
		}
	}
	return symbols
}

func symbol(c byte) (byte, bool) {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	switch c {
	case 'O':
		c = '0'
	case 'I', 'L':
		c = '1'
	}
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return byte(i), true
		}
	}
	return 0, false
}
