package oracle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"nexus.internal/os/cmd/script"
	"nexus.internal/os/ipc"
)

// telling is how long a value or a name is, in bytes, that stands nowhere by
// chance. Shorter ones are not looked for.
const telling = 12

// reader is an app of one incarnation of a user. The zero value is everybody
// who is no app.
type reader struct {
	owner *user
	app   string
}

// canary is a value or a name that is nobody's business but its app's.
type canary struct {
	text string
	of   reader
	name bool
}

// hide notes what an app is about to store.
func (o *Oracle) hide(of reader, op *operation) {
	if len(op.name) >= telling {
		o.canaries = append(o.canaries, canary{op.name, of, true})
	}
	if len(op.value) >= telling {
		o.canaries = append(o.canaries, canary{op.value, of, false})
	}
}

// said notes the words of an app: what it has said itself is no news to it.
func (o *Oracle) said(by reader, words []string) {
	for _, w := range words {
		o.words[by] += "\n" + w
		if body, err := hex.DecodeString(w); err == nil {
			o.words[by] += "\n" + string(body)
		}
	}
}

// shown judges what a command has brought to light: its answer, its error, and
// the body that came with that.
func (o *Oracle) shown(s *step, text string, err error) {
	by := reader{s.owner, s.app}
	seen := []string{text}
	if plain, err := strconv.Unquote(text); err == nil {
		seen = append(seen, plain)
	}
	if body, err := hex.DecodeString(text); err == nil {
		seen = append(seen, string(body))
	}
	if err != nil {
		seen = append(seen, err.Error())
	}
	var refused *script.Refused
	if errors.As(err, &refused) {
		seen = append(seen, string(refused.Body))
	}
	all := strings.Join(seen, "\n")
	if len(all) < telling {
		return
	}
	for _, c := range o.canaries {
		if c.of != by && strings.Contains(all, c.text) && !strings.Contains(o.words[by], c.text) {
			o.violated("isolation", "%s showed %s", s.shown, c)
			return
		}
	}
}

// String says whose secret it is, and not which.
func (c canary) String() string {
	what := "a value"
	if c.name {
		what = "a name"
	}
	return fmt.Sprintf("%s of %s/%s", what, c.of.owner.name, c.of.app)
}

// printed judges a marker: names stand in some, values in none.
func (o *Oracle) printed(line string) {
	for _, c := range o.canaries {
		if !c.name && (strings.Contains(line, c.text) || strings.Contains(line, ipc.EscapeMark(c.text))) && !o.isName(c.text) {
			o.violated("isolation", "a marker has %s", c)
			return
		}
	}
}

// isName says whether a text is, or is a part of, what somebody uses as a name.
func (o *Oracle) isName(text string) bool {
	for _, c := range o.canaries {
		if c.name && strings.Contains(c.text, text) {
			return true
		}
	}
	return false
}
