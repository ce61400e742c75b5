package policyd

import (
	"slices"

	"nexus.internal/os/capability"
)

// Limits of a question, in bytes.
const (
	MaxSubject = capability.MaxAppID
	MaxAction  = 32
	MaxTarget  = 64
)

// Reason says why a decision came out as it did. It is for the audit record;
// who asks learns only the decision.
type Reason uint8

// The reasons, append-only.
const (
	ReasonNoRule       Reason = iota // the subject has no rule
	ReasonNotInRule                  // the subject's rule lacks the action
	ReasonRule                       // the subject's rule has the action
	ReasonAnyApp                     // the rule for any app has the action
	ReasonNotCanonical               // subject or action has another spelling
	ReasonTooLarge                   // subject, action or target is too long
	ReasonNotEnforcer                // the sender may not ask for another subject
)

var reasonText = [...]string{
	"no rule", "not in rule", "rule", "any-app rule", "not canonical", "too large", "not an enforcement point",
}

func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return "unknown"
}

// Question is what policyd is asked.
type Question struct {
	Subject string
	IsApp   bool // the subject is no service, so the rule for any app may hold
	Action  string
	Target  string // what it is done to; no rule looks at it, the audit record digests it
}

// Decide answers a question: deny, unless the subject's own rule has the action
// or, for an app without a rule of its own, the rule for any app has it.
// Subjects and actions match byte by byte and in canonical form only.
func (r *Rules) Decide(q Question) (allow bool, why Reason) {
	switch {
	case len(q.Subject) > MaxSubject || len(q.Action) > MaxAction || len(q.Target) > MaxTarget:
		return false, ReasonTooLarge
	case capability.CheckApp(q.Subject) != nil || q.Subject == AnyApp || !canonicalAction(q.Action):
		return false, ReasonNotCanonical
	}
	actions, own := r.allow[q.Subject]
	why = ReasonRule
	if !own {
		if !q.IsApp {
			return false, ReasonNoRule
		}
		if actions, own = r.allow[AnyApp]; !own {
			return false, ReasonNoRule
		}
		why = ReasonAnyApp
	}
	if !slices.Contains(actions, q.Action) {
		return false, ReasonNotInRule
	}
	return true, why
}

// canonicalAction accepts 1 to 32 bytes in the alphabet of an app id.
func canonicalAction(action string) bool {
	return len(action) <= MaxAction && capability.CheckApp(action) == nil
}
