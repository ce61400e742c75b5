package script

import (
	"slices"
	"strconv"
	"strings"

	"nexus.internal/os/cmd/audit"
	"nexus.internal/os/ipc"
)

// shownDenials is how many refusals `denials` shows that is not asked for a number.
const shownDenials = 10

// denials lists the newest refusals of the kernel and of policyd, the newest
// first. Of two at the same time the kernel's is the newer one: policyd's is
// what it answers to.
func denials(r *Strand, a []string) (string, error) {
	n := shownDenials
	if len(a) > 0 {
		var err error
		if n, err = strconv.Atoi(a[0]); err != nil || n < 1 || n > ipc.MaxDenials {
			return "", usage("%q is no number from 1 to %d", a[0], ipc.MaxDenials)
		}
	}
	all, err := r.refusals(n)
	if err != nil {
		return "", err
	}
	slices.SortStableFunc(all, func(a, b audit.Record) int { return int(a.Time - b.Time) })
	slices.Reverse(all)
	texts := make([]string, 0, n)
	for _, d := range all[:min(n, len(all))] {
		texts = append(texts, d.Text())
	}
	if len(texts) == 0 {
		return "none", nil
	}
	return strings.Join(texts, "; "), nil
}

// refusals are policyd's and then the kernel's newest n, each oldest first.
func (r *Strand) refusals(n int) (all []audit.Record, err error) {
	s, err := r.running()
	if err != nil {
		return nil, err
	}
	see, err := s.Inspector()
	if err != nil {
		return nil, err
	}
	for _, d := range see.Decisions() {
		if !d.Allow {
			all = append(all, audit.OfDecision(&d))
		}
	}
	refused, err := see.Denials(n)
	for _, d := range refused {
		all = append(all, audit.OfDenial(&d))
	}
	return all, err
}

// explain says in words what one record means.
func explain(r *Strand, a []string) (string, error) {
	if !audit.IsID(a[0]) {
		return "", usage("%q is no id of a record, as k1-1 or p1-1", a[0])
	}
	s, err := r.running()
	if err != nil {
		return "", err
	}
	see, err := s.Inspector()
	if err != nil {
		return "", err
	}
	if id, ok := ipc.ParseAuditID(a[0]); ok {
		d, err := see.Denial(id)
		if err != nil {
			return "", err
		}
		found := audit.OfDenial(&d)
		return found.Words(), nil
	}
	for _, d := range see.Decisions() {
		if d.ID() == a[0] {
			found := audit.OfDecision(&d)
			return found.Words(), nil
		}
	}
	return "", ipc.NotFound
}
