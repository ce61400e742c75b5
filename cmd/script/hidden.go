package script

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"nexus.internal/os/services/secret"
)

// Among the words of a command that came as a line, a secret one is in the pool
// of package secret, and a mark with its number stands in its place. A quoted
// word may look like a mark; only what stands for a secret parameter is read as
// one.
const mark = "\x00"

// command makes a command of the words of a line, which it takes over. Secret
// are those that stand for a secret parameter, and, of a command that cannot be
// understood, all but the verb.
func (r *Runner) command(line int, words []*secret.Bytes) Command {
	c := Command{Line: line}
	hidden := make([]bool, len(words))
	r.hide(words, hidden)
	for i, w := range words {
		if hidden[i] {
			c.Words = append(c.Words, mark+strconv.Itoa(len(c.secrets)))
			c.secrets = append(c.secrets, w)
			continue
		}
		c.Words = append(c.Words, string(w.Expose()))
		w.Wipe()
	}
	return c
}

func (r *Runner) hide(words []*secret.Bytes, hidden []bool) {
	args := words[1:]
	k, ok := r.find(string(words[0].Expose()))
	ok = ok && k.takes(len(args), func(i int, word string) bool { return string(args[i].Expose()) == word })
	for i := range args {
		if !ok {
			hidden[1+i] = true
			continue
		}
		p, _ := k.at(i)
		if p.name == command {
			r.hide(args[i:], hidden[1+i:])
			return
		}
		hidden[1+i] = slices.Contains(secrets, p.name)
	}
}

// unknown stands on a terminal for a secret that is asked for.
const unknown = "?"

// Asking has secrets of a line asked for: those that stand there as a question
// mark, or are missing at its end. ask is told the parameter's name.
func (r *Runner) Asking(ask func(param string) (*secret.Bytes, error)) { r.ask = ask }

// complete asks for the secrets that a line lacks.
func (r *Runner) complete(words []*secret.Bytes) ([]*secret.Bytes, error) {
	k, ok := r.find(string(words[0].Expose()))
	if !ok {
		return words, nil
	}
	for i, p := range k.params {
		at := 1 + i
		switch {
		case p.name == command && at < len(words):
			inner, err := r.complete(words[at:])
			return append(words[:at:at], inner...), err
		case !slices.Contains(secrets, p.name), at > len(words), at == len(words) && p.optional:
			continue
		case at < len(words) && string(words[at].Expose()) != unknown:
			continue
		}
		word, err := r.ask(p.name)
		if err != nil {
			return words, err
		}
		if at == len(words) {
			words = append(words, word)
		} else {
			words[at].Wipe()
			words[at] = word
		}
	}
	return words, nil
}

// secret is what an argument stands for. It is the command's, and gone with it.
func (r *Strand) secret(word string) []byte {
	if len(word) > len(mark) && word[:len(mark)] == mark {
		if i, err := strconv.Atoi(word[len(mark):]); err == nil && i < len(r.secrets) {
			return r.secrets[i].Expose()
		}
	}
	return []byte(word)
}

// revealed are the words of a command with its secrets, for a witness.
func (r *Strand) revealed(words []string) []string {
	k, ok := r.find(words[0])
	if !ok {
		return words
	}
	list := slices.Clone(words)
	for i, word := range words[1:] {
		if p, _ := k.at(i); slices.Contains(secrets, p.name) {
			list[1+i] = string(r.secret(word))
		}
	}
	return list
}

// show has the outcome be a secret that a verb has found out, unless it failed:
// then nothing was found, or somebody may still write to it.
func (r *Strand) show(found *secret.Bytes, err error) (string, error) {
	if err == nil {
		r.shown = found
	}
	return "", err
}

// quoted is what strconv.Quote makes of a value.
func quoted(value []byte) *secret.Bytes {
	s := secret.New(quotedSize(value))
	quote(s.Expose()[:0], value)
	return s
}

// marked puts words behind a secret, which it takes over.
func marked(s *secret.Bytes, words string) *secret.Bytes {
	defer s.Wipe()
	longer := secret.New(s.Len() + len(words))
	copy(longer.Expose()[copy(longer.Expose(), s.Expose()):], words)
	return longer
}

// quote appends what strconv.Quote makes of a string, without making one.
func quote(b, value []byte) []byte {
	b = append(b, '"')
	for len(value) > 0 {
		c, n := utf8.DecodeRune(value)
		var one [16]byte
		switch quoted := strconv.AppendQuoteRune(one[:0], c); {
		case c == utf8.RuneError && n == 1:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'x', digits[value[0]>>4], digits[value[0]&15])
		case c == '"':
			b = append(b, '\\', '"')
		case c == '\'':
			b = append(b, '\'')
		default:
			b = append(b, quoted[1:len(quoted)-1]...)
		}
		value = value[n:]
	}
	return append(b, '"')
}

// quotedSize is how many bytes quote appends.
func quotedSize(value []byte) int {
	n := len(`""`)
	var one [4*utf8.UTFMax + 2]byte
	for len(value) > 0 {
		_, size := utf8.DecodeRune(value)
		n += len(quote(one[:0], value[:size])) - len(`""`)
		value = value[size:]
	}
	return n
}
