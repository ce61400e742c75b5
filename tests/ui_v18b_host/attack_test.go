package ui_v18b_host

import (
	"fmt"
	"sync"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

// records hears of every refusal.
type records struct {
	mu  sync.Mutex
	all []ipc.Denial
}

func (r *records) denied(d ipc.Denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, d)
}

// take returns the records since it was asked last.
func (r *records) take() []ipc.Denial {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// besieged is a whole system that is attacked at both services that take an
// app's token.
type besieged struct {
	*world
	seen  *records
	doors []door
}

// door is a service, and what is asked of it.
type door struct {
	service string
	slot    ipc.Slot
	op      uint16
	body    []byte
}

// besiege opens both doors for an app that holds the same slots as every other.
func besiege(w *world, seen *records, a *app) *besieged {
	w.t.Helper()
	get, sign := requests[0], requests[4]
	return &besieged{world: w, seen: seen, doors: []door{
		{boot.KeyStoreD, a.Config.Store, get.op, frame(w.t, get.on("token"))},
		{boot.KeyMintD, a.Config.Keys, sign.op, frame(w.t, sign.on("token"))},
	}}
}

// attack shows a token at both doors. The caller gets the same code and the same
// bytes, whatever the reason; the record has the reason, the field and the door.
func (b *besieged) attack(what string, a *app, token *capability.Token, why capability.Refusal, field capability.Field) {
	t := b.t
	t.Helper()
	for _, d := range b.doors {
		b.seen.take()
		r, err := a.Task.Call(b.ctx(), ipc.Msg{Slot: d.slot, Op: d.op, Token: token, Body: d.body, Move: ipc.NoSlot}, nil)
		if err != ipc.Denied || len(r.Body) != 0 {
			t.Errorf("%s: %s answers %v with %d bytes", what, d.service, err, len(r.Body))
		}
		got := b.seen.take()
		if len(got) != 1 {
			t.Fatalf("%s: %s: %d records", what, d.service, len(got))
		}
		if g := got[0]; g.Refusal != why || g.Field != field || g.Owner != d.service || g.Op != d.op || g.Task != a.Task.ID() || g.Stage != ipc.StageSend {
			t.Errorf("%s: %s: recorded is %v at %v in %q, want %v in %q", what, d.service, g.Refusal, g.Stage, g.Field, why, field)
		}
	}
}

// tokenRanges are the token's fields, and what the record calls them.
var tokenRanges = []struct {
	begin, end int
	field      capability.Field
}{
	{0, 1, capability.FieldVersion}, {1, 2, capability.FieldReserved}, {2, 4, capability.FieldRights}, {4, 8, capability.FieldEpoch},
	{8, 16, capability.FieldSID}, {16, 24, capability.FieldApp}, {24, 32, capability.FieldSerial}, {32, 40, capability.FieldHolder},
	{40, 48, capability.FieldExpires}, {48, 80, capability.FieldSeal},
}

// firstDifference is the first field in which two tokens differ.
func firstDifference(a, b capability.Token) capability.Field {
	for _, r := range tokenRanges {
		if string(a[r.begin:r.end]) != string(b[r.begin:r.end]) {
			return r.field
		}
	}
	return capability.NoField
}

// TestTokenUnderAttack attacks the services that ship: with every bit of a valid
// token flipped, every field of it swapped with another valid one's, and tokens
// of another task, session, epoch and boot.
func TestTokenUnderAttack(t *testing.T) {
	disk := simdisk.New()
	before := start(t, disk)
	old := before.newUser("alice").app("notes").Config.Token
	before.end()

	seen := new(records)
	w := start(t, disk, func(c *boot.Config) { c.Denied = seen.denied })
	alice, bob := w.back("alice"), w.newUser("bob")
	me, his := alice.app("notes"), bob.app("mail")
	me.put("token", "v")
	_, err := me.Keychain.Generate(w.ctx(), "token")
	must(t, err)
	b := besiege(w, seen, me)
	token := me.Config.Token

	live := make(map[uint64]capability.Token)
	for _, a := range []*app{me, his} {
		f, err := a.Config.Token.Fields()
		must(t, err)
		live[f.Serial] = a.Config.Token
	}
	for bit := range capability.TokenSize * 8 {
		forged := token
		forged[bit/8] ^= 1 << (bit % 8)
		why, field := capability.RefusedForged, firstDifference(forged, token)
		switch {
		case bit < 16:
			why = capability.RefusedLayout
		case bit/8 == 3:
			why = capability.RefusedUnknownRight
		case field == capability.FieldSerial:
			if row, ok := live[forged.Claims().Serial]; ok {
				field = firstDifference(forged, row)
			}
		}
		b.attack(fmt.Sprintf("bit %d of byte %d", bit%8, bit/8), me, &forged, why, field)
	}
	for mask := 1; mask < 1<<len(tokenRanges)-1; mask++ {
		mixed, row := token, token
		for i, r := range tokenRanges {
			if mask&(1<<i) == 0 {
				continue
			}
			copy(mixed[r.begin:r.end], his.Config.Token[r.begin:r.end])
			if r.field == capability.FieldSerial {
				row = his.Config.Token
			}
		}
		if mixed != token && mixed != his.Config.Token {
			b.attack(fmt.Sprintf("fields %010b", mask), me, &mixed, capability.RefusedForged, firstDifference(mixed, row))
		}
	}

	b.attack("no token", me, nil, capability.RefusedMissing, capability.NoField)
	b.attack("another boot's", me, &old, capability.RefusedBoot, capability.FieldSID)
	b.attack("another user's", me, &his.Config.Token, capability.RefusedHolder, capability.FieldHolder)
	b.attack("shown by another app", his, &token, capability.RefusedHolder, capability.FieldHolder)
	lister := alice.appWith("notes", capability.List)
	b.attack("without the right", lister, &lister.Config.Token, capability.RefusedRight, capability.FieldRights)
	me.holds("token", "v") // Nothing of this has done anything to it.

	bob.lock()
	b.attack("of an epoch that is over", his, &his.Config.Token, capability.RefusedStale, capability.FieldEpoch)
	bob.endSession()
	b.attack("of a session that has ended", his, &his.Config.Token, capability.RefusedSession, capability.FieldSID)
	exited := alice.app("exited")
	exited.Exit()
	b.attack("of a task that has exited", me, &exited.Config.Token, capability.RefusedRevoked, capability.FieldSerial)
	me.holds("token", "v")
}

// TestNobodyLearnsWhy: an app and the services have no way to the record.
func TestNobodyLearnsWhy(t *testing.T) {
	w := fresh(t)
	me := w.newUser("alice").app("notes")
	if got := me.withToken(capability.Token{}).send(me.Config.Store, wire.OpGet, nil); got != (answer{ipc.Denied, ""}) {
		t.Errorf("a made-up token: %v", got)
	}
	see, err := w.Inspector()
	must(t, err)
	all, err := see.Denials(1)
	if err != nil || len(all) != 1 || all[0].Refusal != capability.RefusedLayout {
		t.Fatalf("the inspector sees %+v, %v", all, err)
	}
	tasks := []*ipc.Task{me.Task, w.launcher.Task()}
	for _, name := range w.Services() {
		tasks = append(tasks, w.Task(name))
	}
	for _, task := range tasks {
		for slot := range ipc.Slot(capability.Slots + 2) {
			for _, serial := range []uint64{0, 1, 2} {
				id := ipc.AuditID{Boot: 1, Serial: serial}
				if d, err := task.Explain(slot, id); err != ipc.PermissionDenied || d != (ipc.Denial{}) {
					t.Fatalf("%s asks for %v through slot %d: %v", task.Name(), id, slot, err)
				}
			}
			if _, err := task.Inspect(slot); err != ipc.PermissionDenied {
				t.Fatalf("%s inspects through slot %d: %v", task.Name(), slot, err)
			}
			if all, err := task.Denials(slot, ipc.AuditID{}, 1); err != ipc.PermissionDenied || all != nil {
				t.Fatalf("%s lists through slot %d: %v", task.Name(), slot, err)
			}
		}
	}
	// The inspector's own table has that capability and no other.
	v, err := see.View()
	must(t, err)
	for _, task := range v.Tasks {
		for _, s := range task.Slots {
			if inspects := s.Kind == capability.KindInspector; inspects != (task.Name == boot.InspectorName) {
				t.Errorf("%s holds %v in slot %d", task.Name, s.Kind, s.Slot)
			}
		}
	}
}
