package modelrun

import (
	"flag"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/model"
)

// Four steps have all been tried; they take a minute of processor time.
var wordLength = flag.Int("words", defaultWords, "how many steps the words of TestInterleavings have")

// do does operations one after the other.
func do(t *testing.T, w *World, ops ...model.Op) {
	t.Helper()
	for _, op := range ops {
		if err := w.Do(op); err != nil {
			t.Fatal(err)
		}
	}
}

// again begins the next case on the same kernel, and now and then on a new one.
func again(t *testing.T, w *World, cases int) *World {
	t.Helper()
	if w == nil || cases%2000 == 0 {
		return New(uint64(cases))
	}
	w.quiet = true
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	return w
}

// attempt is one operation through the capability in a slot of task 2, and the
// rights that it takes: of an inbox, of a service's endpoint. never is for what
// no right on it allows.
type attempt struct {
	op             model.Op
	inbox, service capability.Rights
}

const never capability.Rights = 0x80

// attempts are all operations on a capability in slot 0. Slot 1 has SEND on
// an inbox, slot 2 on the service, which takes capabilities; task 3 is a child.
func attempts() []attempt {
	at := func(op model.Op) model.Op {
		op.Task, op.Token = 2, -1
		if op.Move == 0 && op.Slot == 0 {
			op.Move = ipc.NoSlot
		}
		return op
	}
	all := []attempt{
		{at(model.Op{Kind: model.Call, Type: model.Echo}), never, capability.Send},
		{at(model.Op{Kind: model.Send, Type: model.Echo}), capability.Send, never}, // A service wants somewhere to answer to.
		{model.Op{Kind: model.Send, Task: 2, Type: model.Echo, Size: 8, Move: 1, Token: -1}, capability.Send, capability.Send},
		{at(model.Op{Kind: model.Receive, Sys: uint8(ipc.SysNonblock)}), capability.Recv, never},
		{at(model.Op{Kind: model.CloseEndpoint}), capability.Manage, capability.Manage},
		{at(model.Op{Kind: model.Clone}), 0, 0},
		{at(model.Op{Kind: model.Close}), 0, 0},
		{at(model.Op{Kind: model.Revoke}), 0, 0},
		{model.Op{Kind: model.Call, Task: 2, Slot: 2, Type: model.Echo, Token: -1}, 0, 0}, // It moves: see below.
		{model.Op{Kind: model.Send, Task: 2, Slot: 1, Token: -1}, 0, 0},
		{model.Op{Kind: model.Send, Task: 2, Slot: 2, Type: model.Echo, Size: 8, Token: -1}, capability.Send, never}, // Answer there.
		{at(model.Op{Kind: model.NewEndpoint, To: 2}), never, never},
		{at(model.Op{Kind: model.StartSession}), never, never},
		{at(model.Op{Kind: model.OpenSession}), never, never},
		{at(model.Op{Kind: model.SealSession}), never, never},
		{at(model.Op{Kind: model.EndSession}), never, never},
		{at(model.Op{Kind: model.MintToken, To: 2, TokenRights: 1}), never, never},
		{at(model.Op{Kind: model.RevokeToken}), never, never},
	}
	for rights := range capability.Rights(32) {
		unknown := never * (rights >> 4) // A bit that is no right is held by nobody.
		all = append(all, attempt{at(model.Op{Kind: model.Derive, To: 2, Rights: rights}), rights | unknown, rights | unknown})
		travels := rights | unknown
		if rights&capability.Manage != 0 {
			travels |= never
		}
		all = append(all, attempt{at(model.Op{Kind: model.Derive, To: 3, Rights: rights}), travels, travels})
	}
	return all
}

// TestRights: every mask of rights, on an inbox and on a service's endpoint, with
// every operation. The kernel does what the model does, and exactly what has its
// rights succeeds.
func TestRights(t *testing.T) {
	cases := 0
	var w *World
	for _, inbox := range []bool{true, false} {
		for mask := range capability.AllRights + 1 {
			for _, a := range attempts() {
				w = again(t, w, cases)
				w.quiet = true
				do(t, w,
					model.Op{Kind: model.NewTask, Service: true}, model.Op{Kind: model.NewTask}, model.Op{Kind: model.NewTask, Task: 2},
					model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 1, Depth: 1, Takes: true}, // 253
					model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 2, Depth: 1, Inbox: true}, // 252
					model.Op{Kind: model.StartSession, Slot: w.Auth},
				)
				object := w.Auth - 1
				if inbox {
					object = w.Auth - 2
				}
				give(t, w, object, mask)
				do(t, w,
					model.Op{Kind: model.Derive, Slot: w.Auth - 2, To: 2, Rights: capability.Send},
					model.Op{Kind: model.Derive, Slot: w.Auth - 1, To: 2, Rights: capability.Send})
				w.quiet = false
				check(t, w, a, mask, inbox)
				cases++
			}
		}
	}
	if want := 2 * 16 * (18 + 2*32); cases != want {
		t.Errorf("%d cases, and there are %d", cases, want)
	}
	t.Logf("%d cases: 2 kinds of endpoint, 16 masks of rights, %d operations", cases, len(attempts()))
}

// give puts a capability with the mask into slot 0 of task 2. Manage does not
// travel: with it, task 2 makes the endpoint itself.
func give(t *testing.T, w *World, object ipc.Slot, mask capability.Rights) {
	t.Helper()
	if mask&capability.Manage == 0 {
		do(t, w, model.Op{Kind: model.Derive, Slot: object, To: 2, Rights: mask})
		return
	}
	service := object == w.Auth-1
	factory := ipc.Slot(capability.Slots - 1)
	made := factory - 1
	do(t, w, model.Op{Kind: model.Grant, Task: 2, Cap: capability.KindEndpointFactory})
	owner := 2
	if service {
		do(t, w, model.Op{Kind: model.NewTask, Task: 2, Service: true})
		owner = 4
	}
	do(t, w,
		model.Op{Kind: model.NewEndpoint, Task: 2, Slot: factory, To: owner, Depth: 1, Takes: true, Inbox: !service},
		model.Op{Kind: model.Derive, Task: 2, Slot: made, To: 2, Rights: mask}, // The lowest slot: 0.
		model.Op{Kind: model.Close, Task: 2, Slot: made},
		model.Op{Kind: model.Close, Task: 2, Slot: factory})
}

// check does the attempt, and says itself whether it has to succeed.
func check(t *testing.T, w *World, a attempt, mask capability.Rights, inbox bool) {
	t.Helper()
	need := a.service
	if inbox {
		need = a.inbox
	}
	if need&never != 0 && a.op.Kind == model.Derive {
		need |= never
	}
	if err := w.Do(a.op); err != nil {
		t.Fatal(err)
	}
	got := w.Last().Code
	refused := got != ipc.OK && got != ipc.QueueEmpty
	if want := need&^mask != 0; refused != want {
		t.Fatalf("rights %d: %s: %v; it needs %d\n%s", mask, describe(a.op), got, need, w.History())
	}
}

// Letters of the words of TestInterleavings: what one of two tasks does at one
// of two inboxes. An exit is at none.
type letter struct {
	task, at int
	kind     model.Kind
}

func alphabet() []letter {
	var all []letter
	for _, task := range []int{1, 2} {
		for _, kind := range []model.Kind{model.Send, model.Close, model.Revoke, model.Receive} {
			all = append(all, letter{task, 0, kind}, letter{task, 1, kind})
		}
		all = append(all, letter{task, 0, model.Exit})
	}
	return all
}

// op is a letter as an operation. A send moves a clone of the task's capability
// on the other inbox, and waits for room; its own revoke kills what it has sent.
func (l letter) op(sys ipc.SysFlags) model.Op {
	op := model.Op{Kind: l.kind, Task: l.task, Slot: ipc.Slot(l.at), Move: ipc.NoSlot, Token: -1}
	switch l.kind {
	case model.Send:
		op.Move, op.Size = ipc.Slot(3-l.at), 1
	case model.Receive:
		op.Size, op.Sys = 8, uint8(sys)
	}
	return op
}

// pair is the world of the words: inboxes of depth 1, one of each of two tasks.
// In slots 0 and 1 each task has RECV on both, and SEND on the other's; in 2 and
// 3 clones of them.
func pair(t *testing.T, w *World) {
	t.Helper()
	const both = capability.Send | capability.Recv
	do(t, w,
		model.Op{Kind: model.NewTask}, model.Op{Kind: model.NewTask},
		model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 1, Depth: 1, Inbox: true},
		model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 2, Depth: 1, Inbox: true})
	rights := []capability.Rights{capability.Recv, both}
	for _, task := range []int{1, 2} {
		do(t, w,
			model.Op{Kind: model.Derive, Slot: w.Auth - 1, To: task, Rights: rights[task-1]},
			model.Op{Kind: model.Derive, Slot: w.Auth - 2, To: task, Rights: rights[2-task]},
			model.Op{Kind: model.Clone, Task: task, Slot: 0}, model.Op{Kind: model.Clone, Task: task, Slot: 1})
	}
	// The two alone decide whether there is a sender.
	do(t, w, model.Op{Kind: model.Close, Slot: w.Auth - 1}, model.Op{Kind: model.Close, Slot: w.Auth - 2})
}

// TestInterleavings: everything that two tasks can do to each other with move,
// close, revoke, exit and receive at two inboxes, in every order, that takes at
// most as many steps as -words says. Receives wait, want to know of the last
// sender, or do not wait.
func TestInterleavings(t *testing.T) {
	length := *wordLength
	if testing.Short() {
		length = 2
	}
	letters := alphabet()
	cases := 0
	var w *World
	for _, sys := range []ipc.SysFlags{0, ipc.SysEOF, ipc.SysNonblock} {
		word := make([]int, length)
		for more := true; more; more = next(word, len(letters)) {
			w = again(t, w, cases)
			w.quiet = true
			pair(t, w)
			for i, n := range word {
				w.quiet = !news(word, i)
				do(t, w, letters[n].op(sys))
			}
			cases++
		}
	}
	want := 3
	for range length {
		want *= 2 * (4*2 + 1)
	}
	if cases != want {
		t.Errorf("%d words, and there are %d", cases, want)
	}
	t.Logf("%d words of %d steps: 3 ways to receive, %d letters", cases, length, len(letters))
}

// next counts a word up; it reports false after the last one.
func next(word []int, letters int) bool {
	for i := len(word) - 1; i >= 0; i-- {
		if word[i]++; word[i] < letters {
			return true
		}
		word[i] = 0
	}
	return false
}

// news says whether no earlier word began with the first i+1 letters of this one.
func news(word []int, i int) bool {
	for _, n := range word[i+1:] {
		if n != 0 {
			return false
		}
	}
	return true
}

// fates are what can happen to a request that has a token, while it waits for
// room, is queued, or is being served.
func fates(w *World) []model.Op {
	return []model.Op{
		{Kind: model.SealSession, Slot: w.Auth}, {Kind: model.EndSession, Slot: w.Auth},
		{Kind: model.RevokeToken, Slot: w.Auth}, {Kind: model.Pass, Within: 50}, // The token's expiry.
		{Kind: model.Pass, Within: 200}, // The deadline.
		{Kind: model.Exit, Task: 2}, {Kind: model.Exit, Task: 1},
		{Kind: model.CloseEndpoint, Slot: w.Auth - 1}, {Kind: model.Revoke, Slot: w.Auth - 1},
		{Kind: model.Answer, Task: 1, Code: ipc.OK, Size: 3},
		{Kind: model.Call, Task: 3, Type: model.Crash, Move: ipc.NoSlot, Token: -1, Within: 900}, {Kind: model.Restart, Task: 1},
	}
}

// TestFates: three requests at a service that holds one, queues one and makes the
// third wait; then every sequence of three fates. Each request moves a capability,
// and comes by Call or by Send. All of them have one token, or the last one alone.
func TestFates(t *testing.T) {
	cases := 0
	const length = 3
	count := len(fates(New(1)))
	var w *World
	for _, kind := range []model.Kind{model.Call, model.Send} {
		for _, first := range []uint16{model.HoldPut, model.Hold} {
			word := make([]int, length)
			for more := true; more; more = next(word, count) {
				w = again(t, w, cases)
				w.quiet = true
				crowd(t, w, kind, first)
				for i, n := range word {
					w.quiet = !news(word, i)
					do(t, w, fates(w)[n])
				}
				cases++
			}
		}
	}
	if want := 2 * 2 * 12 * 12 * 12; cases != want {
		t.Errorf("%d sequences, and there are %d", cases, want)
	}
	t.Logf("%d sequences of %d of %d fates, for requests by Call and by Send, all with a token or the last one alone", cases, length, count)
}

func crowd(t *testing.T, w *World, kind model.Kind, first uint16) {
	t.Helper()
	do(t, w,
		model.Op{Kind: model.NewTask, Service: true}, model.Op{Kind: model.NewTask}, model.Op{Kind: model.NewTask},
		model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 1, Depth: 1, Parallel: 1, Takes: true}, // 253
		model.Op{Kind: model.NewEndpoint, Slot: w.Factory, To: 3, Depth: 4, Inbox: true},              // 252
		model.Op{Kind: model.StartSession, Slot: w.Auth}, model.Op{Kind: model.OpenSession, Slot: w.Auth},
		model.Op{Kind: model.MintToken, Slot: w.Auth, To: 2, TokenRights: capability.Get, Within: 60},
		model.Op{Kind: model.Derive, Slot: w.Auth - 1, To: 2, Rights: capability.Send},
		model.Op{Kind: model.Derive, Slot: w.Auth - 1, To: 3, Rights: capability.Send},
		model.Op{Kind: model.Derive, Slot: w.Auth - 2, To: 2, Rights: capability.Send},
		model.Op{Kind: model.Derive, Slot: w.Auth - 2, To: 2, Rights: capability.Send},
		model.Op{Kind: model.Derive, Slot: w.Auth - 2, To: 2, Rights: capability.Send},
	)
	for n, ty := range []uint16{first, first, model.HoldPut} {
		do(t, w, model.Op{Kind: kind, Task: 2, Slot: 0, Type: ty, Size: 8, Move: 1 + ipc.Slot(n), Within: 150})
	}
}
