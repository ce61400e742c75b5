package script

// Verb is one word of the language.
type Verb struct {
	Name string
	// Args is the grammar of what follows: [X] may be missing, X… may be
	// repeated, lower-case words joined by | are all that it may be.
	Args string
	Help string
	run  func(r *Runner, args []string) (string, error)
}

// Usage is the verb with its arguments.
func (v *Verb) Usage() string {
	if v.Args == "" {
		return v.Name
	}
	return v.Name + " " + v.Args
}

// Verbs lists the language, in the order in which one would learn it.
var Verbs = []Verb{
	{"create-user", "USER password|pin WORD", "make a user with a first credential", createUser},
	{"set-credential", "USER password|pin WORD password|pin NEW", "prove the first, set the second", setCredential},
	{"remove-user", "USER password|pin WORD", "destroy a user's keys and vault", removeUser},
	{"users", "[USER…]", "list users; with arguments, they must be all", users},
	{"if-user", "USER COMMAND…", "run the command only if there is such a user", ifUser},

	{"login", "USER password|pin WORD", "start a session: active and sealed", login},
	{"unseal", "USER password|pin WORD", "open the session's keys and vault; apps are launched anew", unseal},
	{"lock", "USER", "seal the session; running apps keep their void tokens", lock},
	{"end", "USER", "end the session", end},
	{"active", "USER [active|unsealed|none]", "what identityd knows of the session; with an argument, it must be that", active},

	{"launch", "USER/APP [RIGHTS]", "start an app with a new token; otherwise its first use does", launch},
	{"put", "USER/APP NAME VALUE", "store a secret", put},
	{"get", "USER/APP NAME [VALUE]", "read a secret; with VALUE, it must be that", get},
	{"del", "USER/APP NAME", "delete a secret", del},
	{"list", "USER/APP [NAME…]", "list the app's names; with arguments, they must be all", list},
	{"steal", "THIEF VICTIM NAME", "read NAME with the victim's token from the thief's task; both are USER/APP", steal},
	{"puts", "USER/APP PREFIX COUNT", "put the numbers 1 to COUNT in turn under 100 names, and report each", puts},
	{"check-puts", "USER/APP PREFIX LAST", "what puts stored up to LAST is there, and at most one more", checkPuts},

	{"generate", "USER/APP KEY", "make a signing key and show its public half", generate},
	{"sign", "USER/APP KEY MESSAGE", "sign, and verify with the public key", sign},
	{"keys", "USER/APP [KEY…]", "list signing keys; with arguments, they must be all", keys},
	{"delkey", "USER/APP KEY", "destroy a signing key", delkey},

	{"expect", "TEXT", "a marker contains TEXT, after the one expected before", expect},
	{"forbid", "TEXT", "no marker contains TEXT, from here to the end", forbid},
	{"fails", "KIND COMMAND…", "the command must fail with that kind, as denied or not-found", fails},
	{"sleep", "MILLISECONDS", "let kernel time pass", sleep},
	{"say", "TEXT…", "print a line", say},
}
