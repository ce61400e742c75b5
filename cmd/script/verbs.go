package script

import "slices"

// Verb is one word of the language.
type Verb struct {
	Name string
	// Args is the grammar of what follows: [X] may be missing, X… may be
	// repeated, lower-case words joined by | are all that it may be.
	Args string
	Help string
	Run  func(r *Strand, args []string) (string, error)

	alone bool // not for strands
}

// Usage is the verb with its arguments.
func (v *Verb) Usage() string {
	if v.Args == "" {
		return v.Name
	}
	return v.Name + " " + v.Args
}

// Verbs lists the language, in the order in which one would learn it.
func Verbs() []Verb { return slices.Concat(userVerbs, appVerbs, machineVerbs, faultVerbs, lineVerbs) }

var userVerbs = []Verb{
	{Name: "create-user", Args: "USER password|pin WORD", Help: "make a user with a first credential", Run: createUser},
	{Name: "set-credential", Args: "USER password|pin|recovery WORD password|pin NEW", Help: "prove the first, set the second", Run: setCredential},
	{Name: "recovery-key", Args: "USER password|pin|recovery WORD [keep]",
		Help: "make a recovery key and show it; kept, it is what the WORD kept stands for", Run: recoveryKey},
	{Name: "remove-credential", Args: "USER password|pin|recovery WORD password|pin|recovery [anyway]",
		Help: "prove the first, remove the second; anyway, if only a recovery key is left then", Run: removeCredential},
	{Name: "rekey", Args: "USER password|pin|recovery WORD [password|pin|recovery] [WORD] [password|pin|recovery] [WORD]",
		Help: "prove all credentials, make another root key and write the vault anew; sessions are locked", Run: rekey},
	{Name: "remove-user", Args: "USER password|pin|recovery WORD", Help: "destroy a user's keys and vault", Run: removeUser},
	{Name: "users", Args: "[USER…]", Help: "list users; with arguments, they must be all", Run: users},
	{Name: "if-user", Args: "USER COMMAND…", Help: "run the command only if there is such a user", Run: ifUser},

	{Name: "login", Args: "USER password|pin|recovery WORD", Help: "start a session: active and sealed", Run: login},
	{Name: "unseal", Args: "USER password|pin|recovery WORD", Help: "open the session's keys and vault; apps are launched anew", Run: unseal},
	{Name: "unlock", Args: "USER password|pin|recovery WORD", Help: "whatever the session was: log in if that is needed, and unseal", Run: unlock},
	{Name: "lock", Args: "USER", Help: "seal the session; running apps keep their void tokens", Run: lock},
	{Name: "end", Args: "USER", Help: "end the session", Run: end},
	{Name: "active", Args: "USER [active|unsealed|none]", Help: "what identityd knows of the session; with an argument, it must be that", Run: active},
}

var appVerbs = []Verb{
	{Name: "launch", Args: "USER/APP [RIGHTS]", Help: "start an app with a new token; otherwise its first use does", Run: launch},
	{Name: "uninstall", Args: "USER/APP", Help: "void the app's tokens, end its secrets and destroy its keys", Run: uninstall},
	{Name: "put", Args: "USER/APP NAME VALUE", Help: "store a secret", Run: put},
	{Name: "get", Args: "USER/APP NAME [VALUE]", Help: "read a secret; with VALUE, it must be that", Run: get},
	{Name: "del", Args: "USER/APP NAME", Help: "delete a secret", Run: del},
	{Name: "list", Args: "USER/APP [NAME…]", Help: "list the app's names; with arguments, they must be all", Run: list},
	{Name: "steal", Args: "THIEF VICTIM NAME", Help: "read NAME with the victim's token from the thief's task; both are USER/APP", Run: steal},
	{Name: "puts", Args: "USER/APP PREFIX COUNT", Help: "put the numbers 1 to COUNT in turn under 100 names, and report each", Run: puts},
	{Name: "check-puts", Args: "USER/APP PREFIX LAST", Help: "what puts stored up to LAST is there, and at most one more", Run: checkPuts},
	{Name: "send", Args: "USER/APP TO OP HEX [TOKEN]", Help: "call TO (store, keys, a facet as identityd.query, or a slot's number) with raw bytes", Run: send},

	{Name: "generate", Args: "USER/APP KEY [sign|wrap|sign,wrap]", Help: "make a signing key and show its public half", Run: generate},
	{Name: "sign", Args: "USER/APP KEY MESSAGE", Help: "sign, and verify with the public key", Run: sign},
	{Name: "verify", Args: "USER/APP KEY VERSION MESSAGE", Help: "what sign signed last verifies with the public key of VERSION", Run: verify},
	{Name: "keys", Args: "USER/APP [KEY…]", Help: "list signing keys; with arguments, they must be all", Run: keys},
	{Name: "key", Args: "USER/APP KEY [VERSION]", Help: "show version, state and public half", Run: key},
	{Name: "rotate", Args: "USER/APP KEY", Help: "make the next version of a signing key", Run: rotate},
	{Name: "revoke", Args: "USER/APP KEY", Help: "destroy the private half of a signing key", Run: revoke},
	{Name: "delkey", Args: "USER/APP KEY", Help: "destroy a signing key", Run: delkey},
	{Name: "wrap", Args: "USER/APP KEY", Help: "wrap a signing key, which stays; the blob is kept", Run: wrap},
	{Name: "detach", Args: "USER/APP KEY", Help: "wrap a signing key and take it out; the blob is kept", Run: detach},
	{Name: "unwrap", Args: "USER/APP KEY BLOB", Help: "put a detached key back; the BLOB kept is the last one of the app", Run: unwrap},

	{Name: "seal-data", Args: "USER/APP ASSOCIATED VALUE", Help: "seal bytes for the app, which needs the right seal; what comes out is kept", Run: sealData},
	{Name: "unseal-data", Args: "USER/APP ASSOCIATED SEALED [VALUE]",
		Help: "unseal bytes; the SEALED kept is the last of the app; with VALUE, it must be that", Run: unsealData},
}

var machineVerbs = []Verb{
	{Name: "boot", Help: "switch the machine on", Run: bootUp, alone: true},
	{Name: "shutdown", Help: "switch the machine off; sessions end first", Run: shutdown, alone: true},
	{Name: "reboot", Help: "switch the machine off and on", Run: reboot, alone: true},
	{Name: "power-cut", Help: "cut the power: nothing that is going on comes to its end", Run: powerCut},
	{Name: "advance", Args: "DURATION", Help: "put the kernel's clock forward, as by 90s or 2h; what falls due does so", Run: advance},
	{Name: "check", Help: "the kernel's books are right, and nothing is queued or being served", Run: check, alone: true},
	{Name: "denials", Args: "[N]", Help: "list the newest refusals, of the kernel and of policyd, with id and reason", Run: denials},
	{Name: "explain", Args: "ID", Help: "say in words why a request was refused: slot, right, token field, epoch", Run: explain},
}

var faultVerbs = []Verb{
	{Name: "crash", Args: "SERVICE", Help: "make a service panic, and wait till it runs again", Run: crash},
	{Name: "fault-crash", Args: "SERVICE request|reply [N]", Help: "panic at the N-th request from now, or before its reply", Run: faultCrash},
	{Name: "fault-drop", Args: "SERVICE request|reply [N]", Help: "lose the N-th request from now, or its reply: who waits, waits till the deadline", Run: faultDrop},
	{Name: "fault-delay", Args: "SERVICE DURATION [N]", Help: "let the N-th request from now be on its way for that long", Run: faultDelay},
	{Name: "fault-exhaust", Args: "SERVICE [N]", Help: "refuse the N-th request from now, as if a byte budget were used up", Run: faultExhaust},
	{Name: "fault-disk", Args: "CALL io|full [N]", Help: "fail the N-th such call of the disk from now; CALL is any, read, append, sync, replace and so on", Run: faultDisk},
	{Name: "fault-power", Args: "[N]", Help: "cut the power at the N-th change of the disk from now", Run: faultPower},
	{Name: "fault-none", Help: "take back the faults that have not come yet", Run: faultNone},
	{Name: "fired", Args: "FAULT [COUNT]", Help: "how often a kind of fault came; with COUNT, it must be that", Run: fired},
}

var lineVerbs = []Verb{
	{Name: "expect", Args: "TEXT", Help: "a marker contains TEXT, after the one expected before", Run: expect},
	{Name: "forbid", Args: "TEXT", Help: "no marker contains TEXT, from here to the end", Run: forbid},
	{Name: "fails", Args: "KIND COMMAND…", Help: "the command must fail with that kind, as denied or not-found", Run: fails},
	{Name: "one-of", Args: "KINDS COMMAND…", Help: "the command must come to one of the kinds, joined by commas; ok is one, too", Run: oneOf},
	{Name: "try", Args: "COMMAND…", Help: "run the command, and show what comes of it, whatever that is", Run: try},
	{Name: "async", Args: "STRAND COMMAND…", Help: "add the command to a strand, which runs at the next join", Run: async, alone: true},
	{Name: "join", Help: "run the strands side by side, each line by line, and wait for all of them", Run: join, alone: true},
	{Name: "sleep", Args: "MILLISECONDS", Help: "let kernel time pass", Run: sleep},
	{Name: "say", Args: "TEXT…", Help: "print a line", Run: say},
}
