package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const folder = ".."

// leastVectors is how many vectors there are at least, all files together.
const leastVectors = 150

// TestFilesAreReproduced: tests/vectors holds exactly what this program writes.
func TestFilesAreReproduced(t *testing.T) {
	var names []string
	for _, f := range files() {
		names = append(names, f.name)
		there, err := os.ReadFile(filepath.Join(folder, f.name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(there, f.json()) {
			t.Errorf("%s is not what `make vectors` makes", f.name)
		}
	}
	there, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if !slices.Contains(names, filepath.Base(path)) {
			t.Errorf("`make vectors` does not make %s", path)
		}
	}
}

// TestWrite: the files of a folder and the list are the same each time, and the
// list counts what JSON readers find.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	var list bytes.Buffer
	if err := write(dir, &list); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, f := range files() {
		text, err := os.ReadFile(filepath.Join(dir, f.name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, f.json()) {
			t.Errorf("%s is another file each time", f.name)
		}
		var lists map[string]json.RawMessage
		if err := json.Unmarshal(text, &lists); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		n := 0
		for _, raw := range lists {
			var vectors []json.RawMessage
			if json.Unmarshal(raw, &vectors) == nil {
				n += len(vectors)
			}
		}
		if n != f.count() {
			t.Errorf("%s: %d vectors, counted as %d", f.name, n, f.count())
		}
		total += n
	}
	if total < leastVectors {
		t.Errorf("only %d vectors", total)
	}
	lines := strings.Split(strings.TrimSuffix(list.String(), "\n"), "\n")
	if last := strings.Fields(lines[len(lines)-1]); len(lines) != len(files())+1 || last[0] != text(total) {
		t.Errorf("the list is\n%s", list.String())
	}
}

// TestWriteFails: a folder that is not there is an error.
func TestWriteFails(t *testing.T) {
	if err := write(filepath.Join(t.TempDir(), "nowhere"), new(bytes.Buffer)); err == nil {
		t.Error("nothing was written, and nobody was told")
	}
}

// TestVectorsAreNamed: within a list each vector has a name of its own, and
// no two are the same case. Those with a class say why.
func TestVectorsAreNamed(t *testing.T) {
	for _, f := range files() {
		for _, p := range f.parts {
			names, cases := make(map[string]bool), make(map[string]string)
			for _, v := range p.vectors {
				if v[0].name != "name" {
					t.Fatalf("%s, %s: a vector begins with %q", f.name, p.name, v[0].name)
				}
				name := v[0].value.(string)
				if name == "" || names[name] {
					t.Errorf("%s, %s: %q is there twice", f.name, p.name, name)
				}
				names[name] = true
				rest := v[1:]
				if rest[0].name == "why" {
					if rest[0].value == "" {
						t.Errorf("%s, %s: %s says not why", f.name, p.name, name)
					}
					rest = rest[1:]
				}
				if other, twice := cases[text(rest)]; twice {
					t.Errorf("%s, %s: %s is %s once more", f.name, p.name, name, other)
				}
				cases[text(rest)] = name
			}
		}
	}
}

// TestVarints: numbers in seven bits a byte, and the same with one byte more.
func TestVarints(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "\x00", 1: "\x01", 127: "\x7f", 128: "\x80\x01", 300: "\xac\x02", 1 << 31: "\x80\x80\x80\x80\x08",
		1<<64 - 1: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		if got := varint(n); string(got) != want {
			t.Errorf("%d is %x", n, got)
		}
	}
	if got := longVarint(300); string(got) != "\xac\x82\x00" {
		t.Errorf("300 with a byte more is %x", got)
	}
}
