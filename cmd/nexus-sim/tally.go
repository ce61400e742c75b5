package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// tally counts what a demonstration has shown, from the results of its scripts.
type tally struct {
	verbs   map[string]int  // lines that did what they should
	users   map[string]int  // apps of each user that stored something
	apps    map[string]bool // USER/APP that stored something
	pins    int             // unseals with a PIN
	refused map[string]int  // by what was tried
	acked   int             // puts acknowledged before the kill
}

// What was refused, in the order of the summary.
var refusals = []string{
	"token of another app, presented from one's own task: denied",
	"token of another user, presented from one's own task: denied",
	"token from before the lock: denied",
	"session that was not unsealed: sealed",
	"name of another app, or deleted: not found",
	"wrong PIN: refused",
}

func (t *tally) add(r record) {
	if t.verbs == nil {
		t.verbs, t.users = make(map[string]int), make(map[string]int)
		t.apps, t.refused = make(map[string]bool), make(map[string]int)
	}
	t.verbs[r.Verb]++
	switch {
	case r.Verb == "put" && !t.apps[r.Args[0]]:
		t.apps[r.Args[0]] = true
		user, _, _ := strings.Cut(r.Args[0], "/")
		t.users[user]++
	case r.Verb == "unseal" && r.Args[1] == "pin":
		t.pins++
	case r.Verb == "fails":
		t.refused[refusal(r.Args)]++
	}
}

// refusal says what a line tried that had to fail. Its words are KIND VERB and
// what follows.
func refusal(words []string) string {
	switch {
	case words[1] == "steal" && before(words[2]) == before(words[3]):
		return refusals[0]
	case words[1] == "steal":
		return refusals[1]
	case words[0] == "denied":
		return refusals[2]
	case words[0] == "sealed":
		return refusals[3]
	case words[0] == "not-found":
		return refusals[4]
	}
	return refusals[5]
}

// before is the USER of USER/APP.
func before(name string) string {
	user, _, _ := strings.Cut(name, "/")
	return user
}

func (t *tally) summary(w io.Writer) {
	n := t.verbs
	fmt.Fprintf(w, "\n== shown, on the real services, through the router, on disk\n")
	for _, user := range slices.Sorted(maps.Keys(t.users)) {
		fmt.Fprintf(w, "user %s with %d apps\n", user, t.users[user])
	}
	fmt.Fprintf(w, "%4d logins, %d unseals, of them %d with the PIN instead of the password\n", n["login"], n["unseal"], t.pins)
	fmt.Fprintf(w, "%4d puts, %d gets of the right value, %d lists, %d delete\n", n["put"]+t.acked, n["get"], n["list"], n["del"])
	fmt.Fprintf(w, "%4d signing key, %d signatures that verify\n", n["generate"], n["sign"])
	for _, r := range refusals {
		fmt.Fprintf(w, "%4d × %s\n", t.refused[r], r)
	}
	fmt.Fprintf(w, "%4d puts were acknowledged before the kill; all of them are there after it\n", t.acked)
}
