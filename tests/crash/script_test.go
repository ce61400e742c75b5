package crash

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
)

// op is one operation of the script. do does it; it changes the state by set, or
// by removing gone. burst is how many puts from this one on are sent before any
// of them is durable; 0 for one that is alone. syncs says that what was on the
// disk before is durable when the op is done. What is carried over was begun by
// the process that was killed, and is done if its bytes are found. again is what
// it answers if it was done before, 0 if it does not mind.
type op struct {
	text  string
	do    func(ctx context.Context, w *world) error
	set   state
	gone  string
	burst int

	syncs, carried bool
	again          ipc.Code
}

func (o *op) after(s state) state {
	if o.set == nil && o.gone == "" {
		return s
	}
	s = maps.Clone(s)
	maps.Copy(s, o.set)
	delete(s, o.gone)
	return s
}

// ending says how an era ends.
type ending int

const (
	shutdown ending = iota // in good order
	killed                 // as a process before the sync of its last op, a put: the bytes are still there
	torn                   // by a power cut that tears its last op, a put
)

// era is what happens between two boots.
type era struct {
	ops []op
	end ending
}

// states answers what can be seen after each of the ops: the n-th after n of them.
func (e *era) states(before state) []state {
	all := []state{before}
	for _, o := range e.ops {
		all = append(all, o.after(all[len(all)-1]))
	}
	return all
}

func bootOps(first bool) []op {
	ops := []op{
		{text: "login", do: func(ctx context.Context, w *world) error { return w.login(ctx) }},
		{text: "unseal", syncs: true, do: func(ctx context.Context, w *world) error { return w.unseal(ctx) }},
	}
	if first {
		made := op{text: "create user", do: func(ctx context.Context, w *world) error { return w.createUser(ctx) }, set: state{"@user": user}, again: ipc.Exists}
		ops = append([]op{made}, ops...)
	}
	return ops
}

func put(app, name, value string) op {
	return op{
		text: fmt.Sprintf("put %s/%s %d bytes", app, name, len(value)),
		do:   func(ctx context.Context, w *world) error { return w.put(ctx, app, name, value) },
		set:  state{app + "/" + name: value},
	}
}

func del(app, name string) op {
	return op{
		text:  "delete " + app + "/" + name,
		do:    func(ctx context.Context, w *world) error { return w.apps[app].Keychain.Delete(ctx, name) },
		gone:  app + "/" + name,
		again: ipc.NotFound,
	}
}

func generate(app, name string) op {
	return op{
		text: "generate " + app + "#" + name,
		do: func(ctx context.Context, w *world) error {
			_, err := w.apps[app].Keychain.Generate(ctx, name)
			return err
		},
		set:   state{app + "#" + name: ""},
		again: ipc.Exists,
	}
}

func deleteKey(app, name string) op {
	return op{
		text:  "delete key " + app + "#" + name,
		do:    func(ctx context.Context, w *world) error { return w.apps[app].Keychain.DeleteKey(ctx, name) },
		gone:  app + "#" + name,
		again: ipc.NotFound,
	}
}

// newCredential sets the password that there is, anew: all of it is wrapped and
// written again.
func newCredential() op {
	return op{text: "set credential", do: func(ctx context.Context, w *world) error {
		word := boot.Password([]byte(password))
		defer word.Secret.Wipe()
		return w.launcher.SetCredential(ctx, user, word, word)
	}}
}

// rekey makes another root key and writes the vault anew, which seals the session.
func rekey() op {
	return op{text: "rekey", do: func(ctx context.Context, w *world) error {
		word := boot.Password([]byte(password))
		defer word.Secret.Wipe()
		if err := w.launcher.Rekey(ctx, user, word); err != nil {
			return err
		}
		return w.unseal(ctx)
	}}
}

// comes and goes are the other user's.
func comes() op {
	return op{text: "create the other user", set: state{"@other": other}, again: ipc.Exists, do: func(ctx context.Context, w *world) error {
		word := boot.Password([]byte(password))
		defer word.Secret.Wipe()
		return w.launcher.CreateUser(ctx, other, word)
	}}
}

func goes() op {
	return op{text: "remove the other user", gone: "@other", again: ipc.BadSecret, do: func(ctx context.Context, w *world) error {
		word := boot.Password([]byte(password))
		defer word.Secret.Wipe()
		return w.launcher.RemoveUser(ctx, other, word)
	}}
}

// relock locks the session and unseals it again.
func relock() []op {
	return []op{
		{text: "lock", do: func(ctx context.Context, w *world) error { return w.launcher.Lock(ctx, w.sid) }},
		{text: "unseal", syncs: true, do: func(ctx context.Context, w *world) error { return w.unseal(ctx) }},
	}
}

// writer makes up what apps do, always the same.
type writer struct {
	chance *rand.Rand
	now    state // the secrets that there are
	puts   int
}

// value is one that no other put has, of a length.
func (w *writer) value(length int) string {
	w.puts++
	return fmt.Sprintf("%d:%s", w.puts, strings.Repeat("v", length))
}

// some is n puts and deletes. One put in six is of some thousand bytes, the
// others are short; long ones are of 64 KiB and come at the places that long
// names.
func (w *writer) some(n int, long ...int) (ops []op) {
	for i := range n {
		app, name := appIDs[w.chance.IntN(len(appIDs))], fmt.Sprint("name-", w.chance.IntN(9))
		o := put(app, name, w.value(w.chance.IntN(90)))
		_, there := w.now[app+"/"+name]
		switch {
		case slices.Contains(long, i):
			o = put("mail", "long", w.value(1 << 16)[:1<<16])
		case there && w.chance.IntN(5) == 0:
			o = del(app, name)
		case w.chance.IntN(6) == 0:
			o = put(app, name, w.value(w.chance.IntN(4000)))
		}
		w.now = o.after(w.now)
		ops = append(ops, o)
	}
	return ops
}

// burst is n puts at a time, some of them under one name.
func (w *writer) burst(n int) (ops []op) {
	for i := range n {
		o := put(appIDs[i%len(appIDs)], fmt.Sprint("burst-", i/3), w.value(200*i))
		w.now = o.after(w.now)
		ops = append(ops, o)
	}
	ops[0].burst = n
	return ops
}

// script is everything that happens. Long values under one name are what makes
// compactions due.
func script() []era {
	w := &writer{chance: rand.New(rand.NewPCG(5, 6)), now: state{}}
	one := func(o op) []op { return []op{o} }
	first := slices.Concat(bootOps(true),
		w.some(20), one(generate("mail", "signing")), w.burst(9),
		w.some(20), relock(),
		w.some(10, 4), one(generate("calendar", "key")), one(deleteKey("mail", "signing")), one(newCredential()), one(comes()))
	second := slices.Concat(bootOps(false),
		w.some(20, 12), w.burst(7),
		w.some(20), relock(), one(rekey()), w.some(20, 5), one(put("calendar", "killed", w.value(900))))
	carried := second[len(second)-1]
	carried.carried = true
	third := slices.Concat(one(carried), bootOps(false),
		w.some(40, 20), one(put("mail", "torn", w.value(5000))))
	fourth := slices.Concat(bootOps(false),
		w.some(30), one(rekey()), w.some(10), w.burst(5), one(generate("mail", "another")), one(newCredential()), one(goes()), relock(), w.some(10))
	return []era{{first, shutdown}, {second, killed}, {third, torn}, {fourth, shutdown}}
}
