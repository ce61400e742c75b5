package ui_v18b_host

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/simdisk"
)

// The slots in which an app finds what it may call.
const (
	storeSlot = boot.SlotAnswers + 1 + iota
	keysSlot
)

// honest are well-formed requests to each operation that an app can reach.
func honest(name string) map[ipc.Slot]map[uint16]proto.Message {
	blob := make([]byte, 106)
	blob[0] = 1
	return map[ipc.Slot]map[uint16]proto.Message{
		storeSlot: {
			wire.OpPut:    &wire.PutRequest{Name: name, Value: []byte("a value of some length")},
			wire.OpGet:    &wire.GetRequest{Name: name},
			wire.OpDelete: &wire.DeleteRequest{Name: name},
			wire.OpList:   &wire.ListRequest{After: name},
		},
		keysSlot: {
			wire.OpGenerateKey: &wire.GenerateKeyRequest{Name: name},
			wire.OpPublicKey:   &wire.PublicKeyRequest{Name: name},
			wire.OpSign:        &wire.SignRequest{Name: name, Message: []byte("a message")},
			wire.OpListKeys:    &wire.ListKeysRequest{After: name},
			wire.OpDeleteKey:   &wire.DeleteKeyRequest{Name: name},
			wire.OpWrapKey:     &wire.WrapKeyRequest{Name: name},
			wire.OpUnwrapKey:   &wire.UnwrapKeyRequest{Name: name, Blob: blob},
			wire.OpRotateKey:   &wire.RotateKeyRequest{Name: name},
			wire.OpRevokeKey:   &wire.RevokeKeyRequest{Name: name},
			wire.OpSealData:    &wire.SealDataRequest{Associated: []byte(name), Data: []byte("data")},
			wire.OpUnsealData:  &wire.UnsealDataRequest{Associated: []byte(name), Sealed: make([]byte, 138)},
		},
	}
}

// bystanders are what hostile frames must leave alone.
type bystanders struct {
	own, neighbour, other *app
	user                  *user // of the first two
}

func newBystanders(w *world) (mallory *app, b bystanders) {
	w.t.Helper()
	alice := w.newUser("alice")
	mallory = alice.appWith("mallory", capability.AllTokenRights)
	b = bystanders{mallory, alice.app("notes"), w.newUser("bob").app("mallory"), alice}
	for _, a := range []*app{b.own, b.neighbour, b.other} {
		a.put("of-"+a.ID+"-kept-and-long-enough-not-to-be-hit", "kept")
		_, err := a.Keychain.Generate(w.ctx(), "kept-key-of-"+a.ID)
		must(w.t, err)
	}
	return mallory, b
}

// unharmed says that nothing of the bystanders is lost, and that the system
// still works.
func (b bystanders) unharmed() {
	for _, a := range []*app{b.own, b.neighbour, b.other} {
		a.w.t.Helper()
		a.holds("of-"+a.ID+"-kept-and-long-enough-not-to-be-hit", "kept")
		_, err := a.Keychain.Sign(a.w.ctx(), "kept-key-of-"+a.ID, []byte("a message"))
		must(a.w.t, err)
		a.put("still", "works")
		a.holds("still", "works")
	}
	if n := b.neighbour.w.panics(); len(n) > 0 {
		b.neighbour.w.t.Errorf("%d panics, the first of %s at %s", len(n), n[0].Task, n[0].Frames)
	}
}

// expected are the answers that hostile bytes may get; a lucky frame is one
// that happens to say something.
var (
	expected = []ipc.Code{ipc.Malformed, ipc.TooLarge, ipc.Unsupported}
	lucky    = append([]ipc.Code{ipc.OK, ipc.NotFound, ipc.Exists, ipc.Denied}, expected...)
)

func (a *app) mistreat(slot ipc.Slot, op uint16, body []byte, codes []ipc.Code) {
	a.w.t.Helper()
	if got := a.send(slot, op, body); !slices.Contains(codes, got.code) || got.code != ipc.OK && got.body != "" {
		a.w.t.Errorf("slot %d, op %d, %d bytes: %v %q", slot, op, len(body), got.code, got.body)
	}
}

func TestTruncatedFrames(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	for slot, ops := range honest("name") {
		for op, q := range ops {
			whole := frame(t, q)
			for n := range len(whole) {
				mallory.mistreat(slot, op, whole[:n], lucky)
			}
		}
	}
	b.unharmed()
}

func TestOversizedFrames(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	for slot, ops := range honest("name") {
		for op, q := range ops {
			whole := frame(t, q)
			for _, size := range []int{len(whole) + 1, ipc.MaxFrame, ipc.MaxFrame + 1, 10 * ipc.MaxFrame} {
				for _, filler := range []byte{0, 0x0a, 0x7f, 0xff} {
					body := append(slices.Clone(whole), slices.Repeat([]byte{filler}, size-len(whole))...)
					mallory.mistreat(slot, op, body, expected)
				}
			}
		}
	}
	b.unharmed()
}

// TestRandomFrames sends noise, and honest frames with noise in them. Replay
// one run with NEXUS_SEED.
func TestRandomFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 2))
	w := fresh(t)
	mallory, b := newBystanders(w)
	frames := honest("name")
	for range 3000 {
		slot := storeSlot + ipc.Slot(rng.IntN(2))
		op := uint16(rng.IntN(ipc.MaxOps + 3))
		body := make([]byte, rng.IntN(300))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		if q := frames[slot][op]; q != nil && rng.IntN(4) > 0 {
			body = frame(t, q)
			for range 1 + rng.IntN(3) {
				body[rng.IntN(len(body))] ^= byte(1 + rng.IntN(255))
			}
		}
		mallory.mistreat(slot, op, body, lucky)
	}
	b.unharmed()
}

// TestReplayedFrames sends what was sent before: to the same operation, to all
// others, and after the token has died.
func TestReplayedFrames(t *testing.T) {
	d := simdisk.New()
	w := start(t, d)
	mallory, b := newBystanders(w)
	var sent [][]byte
	for _, ops := range honest("name") {
		for _, q := range ops {
			sent = append(sent, frame(t, q))
		}
	}
	for range 3 {
		for _, body := range sent {
			for slot := range honest("") {
				for op := range uint16(ipc.MaxOps) {
					mallory.mistreat(slot, op, body, lucky)
				}
			}
		}
	}
	b.unharmed()
	b.user.lock()
	before := contents(t, d)
	for _, body := range sent {
		for slot, ops := range honest("") {
			for op := range ops {
				mallory.mistreat(slot, op, body, []ipc.Code{ipc.Denied})
			}
		}
	}
	same(t, d, before)
}

// TestUnknownOpcodes tries every operation of every slot of an app's table.
func TestUnknownOpcodes(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	frames := honest("name")
	for slot := range ipc.Slot(300) {
		for _, op := range append(sequence(ipc.MaxOps+2), 255, 256, 0x7fff, 0xffff) {
			if frames[slot][op] != nil {
				continue
			}
			got := mallory.send(slot, op, nil)
			wanted := ipc.PermissionDenied
			if slot == boot.SlotControl && op == wire.OpRoute {
				continue // Answered in the bytes of routing, whatever is asked.
			}
			if slot == storeSlot || slot == keysSlot || slot == boot.SlotControl {
				wanted = ipc.Unsupported
			} else if slot > 255 {
				wanted = ipc.InvalidArgument
			}
			if got != (answer{wanted, ""}) {
				t.Fatalf("slot %d, op %d: %v %q", slot, op, got.code, got.body)
			}
		}
	}
	b.unharmed()
}

func sequence(n int) (all []uint16) {
	for i := range n {
		all = append(all, uint16(i))
	}
	return all
}

// hostileNames could end a line, a value, a string or a terminal's patience, or
// are no UTF-8.
var hostileNames = []string{
	"", " ", "a b", "a\nkeystore: put (app=bank, key=gold)", "\r\nidentityd: ready", "a\x00", "\x00", "a\x1b[2J", "a\x1b]0;title\a", "a\x7f",
	"a\x85b", "\u2028", "a\u202egpj", "\ufeffa", "é", "\xff\xfe", "a\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\t",
	strings.Repeat("a", 257), strings.Repeat("\n", 8000),
}

// TestHostileNames uses them wherever an app can say a name, and the launcher
// an id. The client refuses them, and so do the services.
func TestHostileNames(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	lines := len(w.console.lines())
	for _, name := range hostileNames {
		for op, err := range mallory.everything(name) {
			if op != "list" && op != "keys" {
				want(t, err, ipc.Malformed)
			}
		}
		for slot, ops := range honest("x") {
			for op, q := range ops {
				if name == "" && (op == wire.OpList || op == wire.OpListKeys) {
					continue
				}
				if slot == keysSlot && (op == wire.OpSealData || op == wire.OpUnsealData) {
					continue // They have no names.
				}
				mallory.mistreat(slot, op, rename(t, q, name), []ipc.Code{ipc.Malformed, ipc.TooLarge})
			}
		}
	}
	if more := w.console.lines()[lines:]; len(more) > 0 {
		t.Errorf("hostile names are on the console: %q", more)
	}
	b.unharmed()
}

// rename writes the first field of a request, its name, without asking whether
// that is UTF-8.
func rename(t testing.TB, q proto.Message, name string) []byte {
	body := frame(t, q)
	if string(body[:3]) != "\x0a\x01x" {
		t.Fatalf("a request that does not begin with its name: %q", body)
	}
	head := []byte{0x0a}
	for n := len(name); ; n >>= 7 {
		if n < 0x80 {
			head = append(head, byte(n))
			break
		}
		head = append(head, byte(n)|0x80)
	}
	return append(append(head, name...), body[3:]...)
}

// TestForgedMarkers stores under names that are canonical, and written to look
// like markers: each of them stays one value of one line.
func TestForgedMarkers(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	for name, escaped := range map[string]string{
		`x)`:                                 `x\x29`,
		`x,app=bank`:                         `x\x2capp\x3dbank`,
		`identityd:ready`:                    `identityd:ready`,
		`"x"`:                                `\x22x\x22`,
		`\x0aidentityd:`:                     `\x5cx0aidentityd:`,
		`(app=bank,key=gold)`:                `\x28app\x3dbank\x2ckey\x3dgold\x29`,
		strings.Repeat(`\`, 256):             strings.Repeat(`\x5c`, 256),
		strings.Repeat("(", 255) + "~":       strings.Repeat(`\x28`, 255) + "~",
		`%s%n%x{{.}}$(reboot)` + "`reboot`":  `%s%n%x{{.}}$\x28reboot\x29` + "`reboot`",
		`../../../../etc/shadow;rm<>|&!#*?~`: `../../../../etc/shadow;rm<>|&!#*?~`,
	} {
		mallory.put(name, "v")
		mallory.holds(name, "v")
		if n := w.console.count("keystore: put (app=mallory, key=" + escaped + ")"); n != 1 {
			t.Errorf("%q is on the console %d times as %q", name, n, escaped)
		}
	}
	b.unharmed()
}

// TestUnknownFields adds fields that no schema has.
func TestUnknownFields(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	for _, extra := range []string{"\x78\x01", "\x7a\x03abc", "\xfa\x3f\x00", "\x7d1234", "\x7912345678"} {
		for slot, ops := range honest("name") {
			for op, q := range ops {
				mallory.mistreat(slot, op, append(frame(t, q), extra...), []ipc.Code{ipc.Malformed})
				mallory.mistreat(slot, op, append([]byte(extra), frame(t, q)...), []ipc.Code{ipc.Malformed})
			}
		}
	}
	mallory.lacks("name")
	b.unharmed()
}

// TestRepeatedFields sends one field twice, in the way that confuses readers
// who disagree which one counts. There is one reader.
func TestRepeatedFields(t *testing.T) {
	w := fresh(t)
	mallory, b := newBystanders(w)
	twice := append(frame(t, &wire.PutRequest{Name: "first", Value: []byte("1")}), frame(t, &wire.PutRequest{Name: "second", Value: []byte("2")})...)
	if got := mallory.send(mallory.Config.Store, wire.OpPut, twice); got.code == ipc.OK {
		mallory.lacks("first")
		mallory.holds("second", "2")
	} else if got.code != ipc.Malformed {
		t.Errorf("a field twice: %v", got.code)
	}
	b.unharmed()
}
