package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const ending = ".patch"

// patch is one mistake to be planted.
type patch struct {
	name     string // of its file, without the ending
	diff     []byte // the whole file: what stands before the diff does not matter to git
	mistake  string // one sentence
	packages []string
	only     string // a pattern of the tests to run, empty for all
}

// readPatches reads every patch of a folder, in the order of their names.
func readPatches(dir string) ([]patch, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []patch
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p, err := parsePatch(strings.TrimSuffix(filepath.Base(file), ending), text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// parsePatch reads what a patch says of itself.
func parsePatch(name string, text []byte) (patch, error) {
	p := patch{name: name, diff: text}
	header, _, found := bytes.Cut(text, []byte("diff --git "))
	if !found {
		return p, fmt.Errorf("%s: no diff in it", name)
	}
	lines := strings.Split(string(header), "\n")
	p.mistake = lines[0]
	if p.mistake == "" || strings.HasPrefix(p.mistake, testsLine) {
		return p, fmt.Errorf("%s: the first line does not say what the mistake is", name)
	}
	for _, line := range lines[1:] {
		if rest, ok := strings.CutPrefix(line, testsLine); ok {
			return p, p.parseTests(strings.Fields(rest))
		}
	}
	return p, nil
}

// testsLine begins the line that names packages.
const testsLine = "tests:"

func (p *patch) parseTests(words []string) error {
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "./"):
			p.packages = append(p.packages, w)
		case w == "-run" && i == len(words)-2 && i > 0:
			p.only = words[i+1]
			return nil
		default:
			return fmt.Errorf("%s: %q is no package", p.name, w)
		}
	}
	return nil
}

// choose picks the patches that the command line names. No name is every one.
func choose(all []patch, cfg config) ([]patch, error) {
	var wanted []string
	for _, name := range cfg.names {
		name = strings.TrimSuffix(filepath.Base(name), ending)
		if !slices.ContainsFunc(all, func(p patch) bool { return p.name == name }) {
			return nil, fmt.Errorf("%w: there is no patch %s", errUsage, name)
		}
		wanted = append(wanted, name)
	}
	var chosen []patch
	for _, p := range all {
		if (len(wanted) == 0 || slices.Contains(wanted, p.name)) && cfg.only.MatchString(p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: no patch is chosen", errUsage)
	}
	return chosen, nil
}

// widest is the length of the longest name.
func widest(patches []patch) int {
	width := len("control")
	for _, p := range patches {
		width = max(width, len(p.name))
	}
	return width
}
