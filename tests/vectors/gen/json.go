package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// A file is one JSON object: some facts, then lists of vectors, one vector a
// line, so that a change shows as a line.
type file struct {
	name  string
	facts object
	parts []part
}

// A part is one list of a file.
type part struct {
	name    string
	vectors []object
}

// An object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// hexadecimal is what stands in the files as two digits a byte.
type hexadecimal []byte

// obj makes an object of names and values in turn.
func obj(pairs ...any) object {
	var o object
	for i := 0; i < len(pairs); i += 2 {
		o = append(o, member{pairs[i].(string), pairs[i+1]})
	}
	return o
}

// with is the object with more members at its end.
func (o object) with(pairs ...any) object { return append(o[:len(o):len(o)], obj(pairs...)...) }

func (f file) count() (n int) {
	for _, p := range f.parts {
		n += len(p.vectors)
	}
	return n
}

// lists says what the file holds.
func (f file) lists() (all []string) {
	for _, p := range f.parts {
		all = append(all, fmt.Sprintf("%d %s", len(p.vectors), p.name))
	}
	return all
}

func (f file) json() []byte {
	var lines []string
	for _, m := range f.facts {
		lines = append(lines, fmt.Sprintf("  %s: %s", text(m.name), text(m.value)))
	}
	for _, p := range f.parts {
		var rows []string
		for _, v := range p.vectors {
			rows = append(rows, "    "+text(v))
		}
		lines = append(lines, fmt.Sprintf("  %s: [\n%s\n  ]", text(p.name), strings.Join(rows, ",\n")))
	}
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
}

// text is a value in JSON.
func text(value any) string {
	switch v := value.(type) {
	case object:
		members := make([]string, len(v))
		for i, m := range v {
			members[i] = text(m.name) + ": " + text(m.value)
		}
		return "{" + strings.Join(members, ", ") + "}"
	case []uint64:
		numbers := make([]string, len(v))
		for i, n := range v {
			numbers[i] = text(n)
		}
		return "[" + strings.Join(numbers, ", ") + "]"
	case hexadecimal:
		return text(hex.EncodeToString(v))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic("a vector holds what JSON does not have")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
