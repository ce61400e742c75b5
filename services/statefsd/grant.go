package statefsd

import (
	"errors"
	"strings"

	"nexus.internal/os/services/statefsd/disk"
)

// Grant lets one service use some paths.
type Grant struct {
	// Subject is the kernel-stamped name of the sender.
	Subject string
	// Pattern is a canonical path, as "state:/identity/*/vault.kv*", in which
	// a * stands for any number of bytes within one part.
	Pattern string
	// Access is what the subject may do with the files; each level includes
	// those before it.
	Access Access
}

// Access is a level of what a grant allows.
type Access uint8

// The levels of access. The zero value grants nothing and is refused.
const (
	List  Access = iota + 1 // see that a file is there
	Read                    // read what is in it
	Write                   // change it
)

// ErrConfig says that a service's configuration makes no sense.
var ErrConfig = errors.New("statefsd: bad configuration")

// rule is a Grant, taken apart.
type rule struct {
	parts  []string
	access Access
}

// rules are the grants by subject.
type rules map[string][]rule

func compile(grants []Grant) (rules, error) {
	all := make(rules)
	for _, g := range grants {
		rel, ok := strings.CutPrefix(g.Pattern, Scheme)
		// With any byte for a star it must be a path.
		if !ok || g.Access < List || g.Access > Write || g.Subject == "" || disk.CheckPath(strings.ReplaceAll(rel, "*", "x")) != nil {
			return nil, ErrConfig
		}
		all[g.Subject] = append(all[g.Subject], rule{parts: strings.Split(rel, "/"), access: g.Access})
	}
	return all, nil
}

// allow says whether the subject may use a path.
func (r rules) allow(subject, rel string, access Access) bool {
	parts := strings.Split(rel, "/")
	for _, rule := range r[subject] {
		if rule.access >= access && rule.covers(parts) {
			return true
		}
	}
	return false
}

// allowPrefix says whether the subject may use any path that starts so, were
// it there.
func (r rules) allowPrefix(subject, prefix string) bool {
	parts := strings.Split(prefix, "/")
	for _, rule := range r[subject] {
		if rule.reaches(parts) {
			return true
		}
	}
	return false
}

func (r rule) covers(parts []string) bool {
	if len(parts) != len(r.parts) {
		return false
	}
	for i, part := range parts {
		if !match(r.parts[i], part) {
			return false
		}
	}
	return true
}

// reaches says whether a path may begin with these parts, the last of which
// may be incomplete.
func (r rule) reaches(parts []string) bool {
	last := len(parts) - 1
	if last >= len(r.parts) {
		return false
	}
	for i, part := range parts[:last] {
		if !match(r.parts[i], part) {
			return false
		}
	}
	return begins(r.parts[last], parts[last])
}

// match says whether a part fits a pattern's. The first and the last piece
// between stars are where they must be; each other one is taken where it is
// found first, which leaves the most room for those that follow.
func match(pattern, part string) bool {
	pieces := strings.Split(pattern, "*")
	first, rest := pieces[0], pieces[1:]
	part, ok := strings.CutPrefix(part, first)
	if !ok || len(rest) == 0 {
		return ok && part == ""
	}
	last := len(rest) - 1
	for _, piece := range rest[:last] {
		if _, part, ok = strings.Cut(part, piece); !ok {
			return false
		}
	}
	return strings.HasSuffix(part, rest[last])
}

// begins says whether a part that fits the pattern may start so: it must agree
// with the pattern till there is a star.
func begins(pattern, start string) bool {
	fixed, _, star := strings.Cut(pattern, "*")
	return strings.HasPrefix(fixed, start) || star && strings.HasPrefix(start, fixed)
}
