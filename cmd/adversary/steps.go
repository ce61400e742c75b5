package adversary

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc/wire"
)

func (t *story) put(who string)    { t.acts(who, "put %s %s %s", who, t.name(who), t.value(who)) }
func (t *story) get(who string)    { t.acts(who, "get %s %s", who, t.name(who)) }
func (t *story) remove(who string) { t.acts(who, "del %s %s", who, t.name(who)) }
func (t *story) list(who string)   { t.acts(who, "list %s", who) }

// key does something with a signing key.
func (t *story) key(who string) {
	name := t.name(who)
	t.acts(who, "%s", from(&t.in, []string{
		"generate " + who + " " + name,
		"sign " + who + " " + name + " message",
		"keys " + who,
		"delkey " + who + " " + name,
	}))
}

// rights are what apps are launched with; most have all.
var rights = []string{"", "", " put", " get,list", " del,sign", " generate,wrap"}

func (t *story) launch() {
	who := t.app()
	t.acts(who, "launch %s%s", who, from(&t.in, rights))
}

// session does something to a user's session.
func (t *story) session() {
	user := from(&t.in, users)
	t.tell(user+"-session", "%s", from(&t.in, []string{
		"lock " + user,
		"lock " + user,
		"end " + user,
		"unseal " + user + " password " + password(user),
		unlock(user),
		"unseal " + user + " password wrong",
	}))
}

// off switches the machine off in some way, and on again.
func (t *story) off() {
	how := t.in.below(3)
	if how == 0 && t.beside {
		t.waiting = true
		t.line("async power power-cut")
	}
	t.join()
	if how == 1 {
		t.line("try shutdown")
	} else {
		t.line("try power-cut")
	}
	t.on("try ")
}

var (
	services = []string{boot.KeyStoreD, boot.KeyMintD, boot.StateFSD, boot.IdentityD, boot.PolicyD, boot.RNGD}
	ends     = []string{"request", "reply"}
)

// fault asks for a fault that comes soon, or makes a service panic now.
func (t *story) fault() {
	n := 1 + t.in.below(16)
	switch t.in.below(7) {
	case 0:
		t.tell("crash", "crash %s", t.service())
	case 1:
		t.tell("crash", "fault-crash %s %s %d", t.service(), from(&t.in, ends), n)
	case 2:
		t.tell("crash", "fault-drop %s %s %d", t.service(), from(&t.in, ends), n)
	case 3:
		t.tell("crash", "fault-delay %s %ds %d", t.service(), 1+t.in.below(40), n)
	case 4:
		t.tell("crash", "fault-exhaust %s %d", t.service(), n)
	case 5:
		t.tell("crash", "fault-disk %s %s %d", from(&t.in, []string{"any", "append", "sync", "replace", "read"}),
			from(&t.in, []string{"io", "full"}), n)
	case 6:
		t.tell("crash", "fault-power %d", n)
	}
}

func (t *story) service() string { return from(&t.in, services) }

// request is a frame that is right, and where it goes.
type request struct {
	door string
	op   uint16
	body []byte
}

// ask makes a request of any operation that an app may ask for.
func (t *story) ask(who string) request {
	name := t.name(who)
	if plain, err := strconv.Unquote(name); err == nil {
		name = plain
	}
	named := field(nil, 1, name)
	switch t.in.below(12) {
	case 0:
		return request{"store", wire.OpPut, field(named, 2, t.value(who))}
	case 1, 2:
		return request{"store", wire.OpGet, named}
	case 3:
		return request{"store", wire.OpDelete, named}
	case 4:
		return request{"store", wire.OpList, named}
	case 5:
		return request{"store", wire.OpList, nil}
	case 6:
		return request{"keys", wire.OpGenerateKey, named}
	case 7:
		return request{"keys", wire.OpSign, field(named, 2, "message")}
	case 8:
		return request{"keys", wire.OpPublicKey, named}
	case 9:
		return request{"keys", wire.OpDeleteKey, named}
	case 10:
		return request{"keys", wire.OpWrapKey, named}
	}
	return request{"keys", wire.OpUnwrapKey, field(named, 2, strings.Repeat("b", t.in.below(200)))}
}

// slots are numbers of slots of which no app holds one.
var slots = []string{"2", "3", "7", "64", "255", "256", "65535"}

// frame sends bytes that may be wrong in every way.
func (t *story) frame(who string) {
	r := t.ask(who)
	switch t.in.below(8) {
	case 5:
		r.op = uint16(t.in.below(64))
	case 6:
		r.op = uint16(t.in.below(1 << 16))
	case 7:
		r.door = from(&t.in, append([]string{"store", "keys"}, slots...))
	}
	op := strconv.Itoa(int(r.op))
	switch r.door {
	case "store":
		op = wire.OpName(boot.KeyStoreD, r.op)
	case "keys":
		op = wire.OpName(boot.KeyMintD, r.op)
	}
	body := t.in.mutate(r.body)
	t.acts(who, "send %s %s %s %s %s", who, r.door, op, strconv.Quote(hex.EncodeToString(body)), t.token(who))
}

// token is the one that a frame carries.
func (t *story) token(who string) string {
	switch t.in.below(10) {
	case 5:
		return "none"
	case 6:
		if who == victim {
			return "none" // It need not have had one before.
		}
		return "old"
	case 7:
		return fmt.Sprintf("flip:%d", t.in.below(capability.TokenSize*8))
	case 8:
		return "of:" + t.other(who)
	case 9:
		made := make([]byte, capability.TokenSize)
		for i := range min(len(made), 1+t.in.below(len(made))) {
			made[i] = t.in.next()
		}
		return hex.EncodeToString(made)
	}
	return "own"
}
