package script

import (
	"maps"
	"slices"
	"strings"

	"nexus.internal/os/cmd/machine"
)

// Do runs one line, as Run does, for who reads lines by himself. It clobbers the
// line.
func (r *Runner) Do(number int, line []byte) error {
	r.file = "line"
	words, err := split(line)
	switch {
	case len(line) > MaxLine:
		wipe(words)
		err = errTooLong
	case err == nil && len(words) == 0:
		return nil // A comment.
	}
	if err == nil && r.ask != nil {
		if words, err = r.complete(words); err != nil {
			wipe(words)
		}
	}
	if err != nil {
		return &Failure{File: r.file, Line: number, Err: usageError(err.Error())}
	}
	return r.step(r.command(number, words))
}

// Complete answers the last word of a line that is being typed, and what it may
// become: verbs, the words that a verb takes, and the users and apps that the
// script knows.
func (r *Runner) Complete(line string) (word string, candidates []string) {
	words := strings.Fields(line)
	if line == "" || strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	word = words[len(words)-1]
	for _, c := range r.candidates(words) {
		if strings.HasPrefix(c, word) {
			candidates = append(candidates, c)
		}
	}
	return word, candidates
}

func (r *Runner) candidates(words []string) []string {
	if len(words) == 1 {
		names := make([]string, len(r.verbs))
		for i, v := range r.verbs {
			names[i] = v.Name
		}
		return names
	}
	k, ok := r.find(words[0])
	if !ok {
		return nil
	}
	for i := range words[1:] {
		if p, _ := k.at(i); p.name == command {
			return r.candidates(words[1+i:])
		}
	}
	p, ok := k.at(len(words) - 2)
	if !ok {
		return nil
	}
	return r.wordsFor(p)
}

// wordsFor lists what an argument may be, where that is a list.
func (r *Runner) wordsFor(p param) []string {
	if p.choices != nil {
		return p.choices
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch p.name {
	case "USER":
		return slices.Sorted(maps.Keys(r.sessions))
	case "USER/APP", "THIEF", "VICTIM":
		return slices.Sorted(maps.Keys(r.apps))
	case "SERVICE":
		if s := r.machine.System(); s != nil {
			return s.Services()
		}
	case "KIND":
		names := make([]string, len(wanted))
		for i, k := range wanted {
			names[i] = k.name
		}
		return names
	case "FAULT":
		return strings.Split(joined(machine.Kinds), ", ")
	case "CALL":
		return append([]string{"any"}, strings.Split(joined(diskCalls), ", ")...)
	}
	return nil
}
