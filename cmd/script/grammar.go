package script

import (
	"slices"
	"strings"
)

// param is what a verb's Args say of one argument: [X] may be missing, X… may
// be repeated, lower-case words joined by | are all that it may be.
type param struct {
	name     string
	choices  []string
	optional bool
	repeated bool
}

// hidden are the parameters that no report shows: credentials, and what is
// stored, wanted or signed.
var hidden = []string{"WORD", "NEW", "VALUE", "MESSAGE", "HEX", "TOKEN"}

// secrets are those of them that are secrets: no string is made of one.
var secrets = []string{"WORD", "NEW", "VALUE", "MESSAGE"}

// command is the parameter that is a verb with its own arguments.
const command = "COMMAND"

// known is a verb with its grammar.
type known struct {
	Verb
	params []param
}

// wraps says whether the verb's effect is that of a command in its arguments.
func (k *known) wraps() bool {
	for _, p := range k.params {
		if p.name == command {
			return true
		}
	}
	return false
}

// learn reads the verbs' grammar.
func learn(verbs []Verb) []known {
	list := make([]known, len(verbs))
	for i, v := range verbs {
		list[i].Verb = v
		for field := range strings.FieldsSeq(v.Args) {
			list[i].params = append(list[i].params, parameter(field))
		}
	}
	return list
}

func parameter(field string) (p param) {
	p.name = strings.Trim(field, "[]")
	p.optional = p.name != field
	p.name, p.repeated = strings.CutSuffix(p.name, "…")
	if strings.ToLower(p.name) == p.name {
		p.choices = strings.Split(p.name, "|")
	}
	return p
}

// at returns the parameter that the argument with that index is for.
func (k *known) at(i int) (param, bool) {
	last := len(k.params) - 1
	switch {
	case i <= last:
		return k.params[i], true
	case last >= 0 && k.params[last].repeated:
		return k.params[last], true
	}
	return param{}, false
}

// fits says whether a verb can have these arguments.
func (k *known) fits(args []string) bool {
	return k.takes(len(args), func(i int, word string) bool { return args[i] == word })
}

// takes says whether a verb can have n arguments, of which is says what they are.
func (k *known) takes(n int, is func(i int, word string) bool) bool {
	for i := range n {
		p, ok := k.at(i)
		if !ok || p.choices != nil && !slices.ContainsFunc(p.choices, func(c string) bool { return is(i, c) }) {
			return false
		}
	}
	return n >= len(k.params) || k.params[n].optional
}

// public returns those words of a command that a report may show. Of one that
// cannot be understood that is the verb alone: who knows which word was the
// secret.
func (r *Runner) public(words []string) []string {
	k, ok := r.find(words[0])
	if !ok || !k.fits(words[1:]) {
		return words[:1]
	}
	shown := words[:1:1]
	for i, a := range words[1:] {
		p, _ := k.at(i)
		if p.name == command {
			return append(shown, r.public(words[1+i:])...)
		}
		if !slices.Contains(hidden, p.name) {
			shown = append(shown, a)
		}
	}
	return shown
}

func (r *Runner) find(verb string) (*known, bool) {
	i := slices.IndexFunc(r.verbs, func(k known) bool { return k.Name == verb })
	if i < 0 {
		return nil, false
	}
	return &r.verbs[i], true
}

// nearest finds the verb with the fewest edits.
func (r *Runner) nearest(word string) string {
	best := slices.MinFunc(r.verbs, func(a, b known) int { return edits(word, a.Name) - edits(word, b.Name) })
	return best.Name
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
