package audit

import (
	"fmt"
	"strings"
)

// reasons says what each reason of the kernel's records means.
var reasons = map[string]string{
	"missing":       "no token was given",
	"forged":        "the seal is not this boot's",
	"revoked":       "the seal is right, but there is no live token with these bytes",
	"stale":         "the session has a later epoch than the token",
	"holder":        "another task holds the token",
	"expired":       "the token's time is over",
	"right":         "the token has none of the rights that the operation needs",
	"request over":  "the request that the token was derived for is over",
	"length":        "a token has 80 bytes, and this had another number of them",
	"layout":        "another version of the token, or its reserved byte is set",
	"unknown right": "the token has a right that does not exist",
	"another boot":  "the token's sid is of another boot",
	"session over":  "the token's session has ended",

	"slot out of range":        "there is no such slot in any table",
	"empty slot":               "the slot holds nothing",
	"not an endpoint":          "what the slot holds is no endpoint",
	"right missing":            "the capability lacks a right",
	"endpoint closed":          "the endpoint is closed",
	"unsupported opcode":       "the endpoint has no such operation",
	"nothing to move":          "the slot to move holds nothing",
	"fixed capability":         "the capability to move stays with the task that it was made for",
	"takes no capability":      "the endpoint takes no capabilities",
	"nowhere to answer":        "what travels along is no SEND on an open inbox, so that there is nowhere to answer",
	"no nonce":                 "the message has no room for a nonce",
	"an inbox":                 "the endpoint is an inbox: messages are sent there, and nobody answers calls",
	"not an inbox":             "the endpoint is a service's: only from an inbox can anybody receive",
	"another kind":             "what the slot holds is of another kind than the system call needs",
	"read-only":                "the capability is a read-only alias, through which nobody can write",
	"not a child":              "only the task itself or a child of it that has not exited can be given this",
	"longer life":              "the derived token would outlive its parent",
	"no rule":                  "the subject has no rule",
	"not in rule":              "the subject's rule does not have the action",
	"rule":                     "the subject's rule has the action",
	"any-app rule":             "the rule for any app has the action",
	"not canonical":            "the subject or the action is not in canonical form",
	"too large":                "the subject, the action or the target is too long",
	"not an enforcement point": "who asked may not ask for another subject",
}

// stages says when a request was refused.
var stages = map[string]string{
	"send": "when it was sent", "delivery": "when its handler was about to run", "reply": "when its handler answered",
	"void":        "because its token died while it was on its way or being served",
	"system call": "by the system call",
}

// Text says in a few words what was refused and why.
func (r *Record) Text() string {
	switch {
	case r.Denial != nil:
		return fmt.Sprintf("%s %s %s: %s", r.ID, r.Denial.Name, r.Denial.operation(), r.Reason)
	case r.Decision != nil:
		return fmt.Sprintf("%s %s %s: %s", r.ID, r.Decision.Subject, r.Decision.Action, r.Reason)
	}
	return r.ID
}

// Words says in sentences, on one line, what the record means. The time is not
// in it.
func (r *Record) Words() string {
	because := r.Reason
	if meaning, ok := reasons[r.Reason]; ok {
		because += ", " + meaning
	}
	switch {
	case r.Denial != nil:
		return r.ID + ": " + r.Denial.words(because)
	case r.Decision != nil:
		return r.ID + ": " + r.Decision.words(because)
	}
	return r.ID
}

func (d *Decision) words(because string) string {
	verdict := "denied"
	if d.Allow {
		verdict = "allowed"
	}
	action := d.Action
	if action == "" {
		action = "what is no action"
	}
	return fmt.Sprintf("policyd %s %s to do %s. Reason: %s. Target: %s.", verdict, d.Subject, action, because, d.Target)
}

// operation is what was asked for, and of whom if that is known.
func (d *Denial) operation() string {
	switch {
	case d.Syscall != "" && d.Endpoint == 0:
		return "system call " + d.Syscall
	case d.Syscall != "":
		return fmt.Sprintf("system call %s at %s.%d", d.Syscall, d.Owner, d.Facet)
	case d.Endpoint == 0:
		return "operation " + d.Op
	}
	return fmt.Sprintf("%s.%d %s", d.Owner, d.Facet, d.Op)
}

func (d *Denial) words(because string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %d (%s) asked for %s", d.Task, d.Name, d.operation())
	if d.Endpoint != 0 {
		fmt.Fprintf(&b, " (endpoint %d)", d.Endpoint)
	}
	when, ok := stages[d.Stage]
	if !ok {
		when = "at " + d.Stage
	}
	if d.Stage == "void" && d.Token == nil {
		when = "because its capability went while it waited for room"
	}
	fmt.Fprintf(&b, " and was told %q, %s. Reason: %s.", d.Code, when, because)
	if d.Slot != nil {
		fmt.Fprintf(&b, " Slot %d: %s.", *d.Slot, d.held())
	}
	if d.Missing != "" {
		fmt.Fprintf(&b, " Missing right: %s.", d.Missing)
	}
	if d.Token != nil {
		b.WriteString(d.Token.words())
	}
	return b.String()
}

func (d *Denial) held() string {
	if d.Kind == "" {
		return "empty"
	}
	return d.Kind + " with " + d.Rights
}

func (t *Token) words() string {
	var b strings.Builder
	if t.Field != "" {
		fmt.Fprintf(&b, " Token field: %s.", t.Field)
	}
	fmt.Fprintf(&b, " Rights needed: %s", t.Needed)
	if t.Held == "" {
		b.WriteString(".")
		return b.String()
	}
	says := "claims"
	if t.Genuine {
		says = "has"
	}
	fmt.Fprintf(&b, "; the token %s %s, sid %d, epoch %d.", says, t.Held, t.SID, t.Epoch)
	if t.SessionEpoch != 0 {
		fmt.Fprintf(&b, " The session's epoch: %d.", t.SessionEpoch)
	}
	if t.App != "" {
		fmt.Fprintf(&b, " App: %s.", t.App)
	}
	if t.User != "" {
		fmt.Fprintf(&b, " User: %s.", t.User)
	}
	return b.String()
}
