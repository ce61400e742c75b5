package ui_v18b_host

import (
	"bytes"
	"strings"
	"testing"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	target "nexus.internal/os/ipc/frame"
	"nexus.internal/os/ipc/inbox"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/ks1"
	"nexus.internal/os/services/statefsd/simdisk"
)

// native is a program of the target OS: it has the three slots that each task
// finds, and nothing but send and receive.
type native struct {
	*app
	nonce    uint32
	to, from ipc.Slot // keystored's endpoint and the own inbox, after a route
}

// out sends a frame; a slot other than NoSlot moves along.
func (n *native) out(to ipc.Slot, op uint16, payload, token []byte, move ipc.Slot) error {
	m := ipc.Outgoing{Slot: to, Payload: payload, Token: token, Header: target.Header{Type: op, Len: uint32(len(payload))}}
	if move != ipc.NoSlot {
		m.Header.Flags, m.Header.Src = target.CapMove, uint32(move)
	}
	return n.Task.Send(n.w.ctx(), m)
}

// in receives a frame.
func (n *native) in(from ipc.Slot) []byte {
	n.w.t.Helper()
	buf := make([]byte, ipc.MaxFrame)
	deadline := n.w.Kernel.Now().Add(patience)
	in, err := n.Task.Receive(n.w.ctx(), from, buf, 0, deadline)
	must(n.w.t, err)
	return buf[:in.N]
}

// ask sends a routing frame the way the target OS does: on slot 1, with the
// answer on slot 2.
func (n *native) ask(payload []byte) target.RouteAnswer {
	n.w.t.Helper()
	must(n.w.t, n.out(boot.SlotControl, wire.OpRoute, payload, nil, ipc.NoSlot))
	a, err := target.ParseRouteAnswer(n.in(boot.SlotAnswers))
	must(n.w.t, err)
	return a
}

func (n *native) route(name string) target.RouteAnswer {
	n.w.t.Helper()
	n.nonce++
	q, err := target.RouteRequest{Name: name, Nonce: n.nonce}.Append(nil)
	must(n.w.t, err)
	a := n.ask(q)
	if a.Nonce != n.nonce {
		n.w.t.Errorf("the answer about %s has nonce %d, not %d", name, a.Nonce, n.nonce)
	}
	return a
}

// connect asks for keystored, as the OS's client does at its start.
func (n *native) connect() {
	n.w.t.Helper()
	a := n.route("keystored")
	if a.Status != target.RouteOK {
		n.w.t.Fatalf("no route to keystored: %v", a.Status)
	}
	n.to, n.from = ipc.Slot(a.Send), ipc.Slot(a.Recv)
}

// exchange sends bytes to keystored and returns the answer's.
func (n *native) exchange(payload []byte) []byte {
	n.w.t.Helper()
	half, err := n.Task.Derive(n.from, capability.Send, n.Task)
	must(n.w.t, err)
	must(n.w.t, n.out(n.to, wire.OpKS1, payload, n.Config.Token[:], half))
	return n.in(n.from)
}

// do is exchange for a request that has bytes.
func (n *native) do(op ks1.Op, key, value string) (ks1.Status, string) {
	n.w.t.Helper()
	q, err := ks1.Request{Op: op, Key: []byte(key), Value: []byte(value)}.Append(nil)
	must(n.w.t, err)
	r, err := ks1.ParseResponse(n.exchange(q))
	must(n.w.t, err)
	if r.Op != op {
		n.w.t.Errorf("the answer is to operation %d, not %d", r.Op, op)
	}
	return r.Status, string(r.Value)
}

// expect fails unless an operation comes to a status and a value.
func (n *native) expect(op ks1.Op, key, put string, status ks1.Status, value string) {
	n.w.t.Helper()
	if got, v := n.do(op, key, put); got != status || v != value {
		n.w.t.Errorf("operation %d on %q: %v %q, want %v %q", op, key, got, v, status, value)
	}
}

func newNative(a *app) *native {
	n := &native{app: a}
	n.connect()
	return n
}

// TestRoutes: every status there is, and slots that are the asker's own.
func TestRoutes(t *testing.T) {
	w := fresh(t)
	n := &native{app: w.newUser("alice").app("notes")}
	if a := n.route("keystored"); a.Status != target.RouteOK || a.Send == a.Recv {
		t.Errorf("keystored: %+v", a)
	}
	if a := n.route("keymintd.keys"); a.Status != target.RouteOK {
		t.Errorf("keymintd.keys: %+v", a)
	}
	for name, status := range map[string]target.RouteStatus{
		"nobody": target.RouteNotFound, "keystored.nothing": target.RouteNotFound, "Keystored": target.RouteNotFound, ".": target.RouteNotFound,
		"statefsd": target.RouteDenied, "rngd": target.RouteDenied, "identityd": target.RouteDenied, "policyd": target.RouteDenied,
		// Policy allows the service, the grant table not the facet.
		"keystored.open": target.RouteDenied, "keymintd.admin": target.RouteDenied, "keymintd.vault": target.RouteDenied,
	} {
		if a := n.route(name); a != (target.RouteAnswer{Status: status, Nonce: n.nonce}) {
			t.Errorf("%s: %+v, want %v", name, a, status)
		}
	}
	for _, payload := range []string{"", "RT", "RT\x01\x40\x09keystored", "no frame at all", strings.Repeat("x", ipc.MaxFrame)} {
		if a := n.ask([]byte(payload)); a.Status != target.RouteMalformed || a.Send != 0 || a.Recv != 0 {
			t.Errorf("%.20q: %+v", payload, a)
		}
	}
}

// TestPolicyDeniesARoute that the shipped policy allows, and the record says who
// asked for what.
func TestPolicyDeniesARoute(t *testing.T) {
	policy := []byte("[allow]\nlauncher = [\"session.token\"]\nany-app = [\"keychain.put\", \"keychain.get\", \"route.keymintd\"]\n")
	w := start(t, simdisk.New(), func(c *boot.Config) { c.Policy = policy })
	n := &native{app: w.newUser("alice").appWith("notes", capability.Put|capability.Get)}
	if a := n.route("keystored"); a.Status != target.RouteDenied {
		t.Errorf("keystored: %+v", a)
	}
	if a := n.route("keymintd"); a.Status != target.RouteOK {
		t.Errorf("keymintd: %+v", a)
	}
	records, _ := w.Audit.Records()
	denied := 0
	for _, r := range records {
		if r.Action == "route.keystored" && r.Subject == "app" && !r.Allow && len(r.Target) == 32 {
			denied++
		}
	}
	if denied != 1 {
		t.Errorf("%d records of the denial", denied)
	}
}

// TestRoutesAreBounded: a full table gives neither slot, and who reads no answers
// stops nobody.
func TestRoutesAreBounded(t *testing.T) {
	w := fresh(t)
	u := w.newUser("alice")
	n := newNative(u.app("notes"))
	for n.Task.Slots() < capability.Slots-1 {
		_, err := n.Task.Clone(n.to)
		must(t, err)
	}
	if a := n.route("keystored"); a.Status != target.RouteDenied || n.Task.Slots() != capability.Slots-1 {
		t.Errorf("into a table with one free slot: %v, %d held", a.Status, n.Task.Slots())
	}
	deaf := &native{app: u.app("deaf")}
	q, err := target.RouteRequest{Name: "rngd", Nonce: 1}.Append(nil)
	must(t, err)
	for range 500 {
		must(t, deaf.out(boot.SlotControl, wire.OpRoute, q, nil, ipc.NoSlot))
	}
	newNative(u.app("mail")).expect(ks1.Get, "x", "", ks1.NotFound, "")
}

// TestTargetClient is the OS's own client: the answers that it expects, in its
// own bytes.
func TestTargetClient(t *testing.T) {
	w := fresh(t)
	u := w.newUser("alice")
	n := newNative(u.app("notes"))
	n.expect(ks1.Get, "k1", "", ks1.NotFound, "")
	n.expect(ks1.Put, "k1", "v1", ks1.OK, "")
	n.expect(ks1.Get, "k1", "", ks1.OK, "v1")
	n.expect(ks1.Put, "k1", "", ks1.OK, "")
	n.expect(ks1.Get, "k1", "", ks1.OK, "")
	n.expect(ks1.Del, "k1", "", ks1.OK, "")
	n.expect(ks1.Del, "k1", "", ks1.NotFound, "")
	n.expect(ks1.Put, "not a name", "v", ks1.Malformed, "")
	n.expect(ks1.Put, strings.Repeat("k", ks1.MaxKey), strings.Repeat("v", ks1.MaxValue), ks1.OK, "")
	for what, c := range map[string]struct{ frame, answer string }{
		"not KS v1":            {"hello", "KS\x01\x82\x02\x00\x00"},
		"empty":                {"", "KS\x01\x82\x02\x00\x00"},
		"a key too long":       {"KS\x01\x01\x41\x00\x00" + strings.Repeat("k", 65), "KS\x01\x81\x03\x00\x00"},
		"a value too long":     {"KS\x01\x01\x01\x01\x01k" + strings.Repeat("v", 257), "KS\x01\x81\x03\x00\x00"},
		"lengths that lie":     {"KS\x01\x02\x02\x00\x00k", "KS\x01\x82\x02\x00\x00"},
		"an unknown operation": {"KS\x01\x63\x01\x00\x00k", "KS\x01\xe3\x04\x00\x00"},
		"private export":       {"KS\x01\x0d\x01\x00\x00k", "KS\x01\x8d\x0c\x00\x00"},
	} {
		if got := n.exchange([]byte(c.frame)); !bytes.Equal(got, []byte(c.answer)) {
			t.Errorf("%s: %x, want %x", what, got, c.answer)
		}
	}
	// The same secrets under the same names as the client library has.
	n.put("mail", "from the library")
	n.expect(ks1.Get, "mail", "", ks1.OK, "from the library")
	n.put("long", strings.Repeat("v", ks1.MaxValue+1))
	n.expect(ks1.Get, "long", "", ks1.TooLarge, "")
	n.put("longer", strings.Repeat("v", 5000)) // Not even in a frame.
	n.expect(ks1.Get, "longer", "", ks1.TooLarge, "")
	// Another app has none of them.
	newNative(u.app("other")).expect(ks1.Get, "mail", "", ks1.NotFound, "")
}

// TestTargetClientDenied: a token without the operation's right gets DENY; a
// void one, and one that is somebody else's, does not get past the kernel.
func TestTargetClientDenied(t *testing.T) {
	w := fresh(t)
	u := w.newUser("alice")
	n := newNative(u.appWith("reader", capability.Get))
	n.expect(ks1.Put, "k", "v", ks1.Deny, "")
	n.expect(ks1.Del, "k", "", ks1.Deny, "")
	n.expect(ks1.Get, "k", "", ks1.NotFound, "")
	other := newNative(u.app("other"))
	q, err := ks1.Request{Op: ks1.Get, Key: []byte("k")}.Append(nil)
	must(t, err)
	for what, token := range map[string][]byte{"none": nil, "another task's": n.Config.Token[:], "half": other.Config.Token[:40]} {
		half, err := other.Task.Derive(other.from, capability.Send, other.Task)
		must(t, err)
		if err := other.out(other.to, wire.OpKS1, q, token, half); err != ipc.Denied {
			t.Errorf("a token, %s: %v", what, err)
		}
		must(t, other.Task.Close(half))
	}
	u.lock()
	half, err := n.Task.Derive(n.from, capability.Send, n.Task)
	must(t, err)
	if err := n.out(n.to, wire.OpKS1, q, n.Config.Token[:], half); err != ipc.Denied {
		t.Errorf("after lock: %v", err)
	}
}

// TestTypedRequestsOverAnInbox: the store facet by Send, many at once, answers in
// any order.
func TestTypedRequestsOverAnInbox(t *testing.T) {
	w := fresh(t)
	n := &native{app: w.newUser("alice").app("notes")}
	a := n.route("keystored.store")
	if a.Status != target.RouteOK {
		t.Fatalf("no route: %v", a.Status)
	}
	box := inbox.New(n.Task, ipc.Slot(a.Recv))
	var nonces []uint64
	for _, name := range []string{"a", "b", "c"} {
		n.put(name, "value of "+name)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		q := inbox.Request{Slot: ipc.Slot(a.Send), Op: wire.OpGet, Token: n.Config.Token[:], Body: frame(t, &wire.GetRequest{Name: name})}
		nonce, err := box.Start(w.ctx(), q, 0)
		must(t, err)
		nonces = append(nonces, nonce)
	}
	for i := range nonces {
		i = len(nonces) - 1 - i
		answer, err := box.Wait(w.ctx(), nonces[i], w.Kernel.Now().Add(patience))
		must(t, err)
		wanted := ipc.OK
		if i == 3 {
			wanted = ipc.NotFound
		}
		if found := bytes.Contains(answer.Body, []byte("value of "+string(rune('a'+i)))); answer.Code != wanted || found != (i < 3) {
			t.Errorf("answer %d: %v, %q", i, answer.Code, answer.Body)
		}
	}
}

// TestRoutesLeaveNothing: apps that ask for routes and go, and launches that
// fail, leave init with the capabilities that it had.
func TestRoutesLeaveNothing(t *testing.T) {
	w := fresh(t)
	u := w.newUser("alice")
	held := func() int {
		for _, task := range w.Kernel.View().Tasks {
			if task.Name == "init" {
				return len(task.Slots)
			}
		}
		t.Fatal("there is no init")
		return 0
	}
	first := newNative(u.app("first"))
	before := held()
	for range 40 {
		n := newNative(u.app("notes"))
		q, err := target.RouteRequest{Name: "keymintd", Nonce: 1}.Append(nil)
		must(t, err)
		must(t, n.out(boot.SlotControl, wire.OpRoute, q, nil, ipc.NoSlot)) // It exits while that is under way.
		n.Exit()
	}
	// With one endpoint left, a launch fails in the middle.
	for w.Kernel.Stats().Endpoints < ipc.MaxEndpoints-1 {
		w.hoard()
	}
	for range 40 {
		if _, err := w.launcher.Launch(w.ctx(), u.sid, "notes", boot.AppRights); err != ipc.NoSpace {
			t.Fatalf("a launch without room: %v", err)
		}
	}
	first.route("keymintd") // Init answers one at a time: it has done with all others.
	if n := held(); n != before {
		t.Errorf("init holds %d capabilities, and %d before", n, before)
	}
}

// hoard makes endpoints till its owner may have no more, or one is left.
func (w *world) hoard() {
	w.t.Helper()
	task, err := w.Kernel.NewTask(ipc.TaskSpec{Name: "hoarder"})
	must(w.t, err)
	factory, err := w.Kernel.GrantFactory(task)
	must(w.t, err)
	for range min(ipc.MaxOwnerEndpoints, ipc.MaxEndpoints-1-w.Kernel.Stats().Endpoints) {
		_, err := task.NewEndpoint(factory, task, ipc.EndpointSpec{Inbox: true})
		must(w.t, err)
	}
}
