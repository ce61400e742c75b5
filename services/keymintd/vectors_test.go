package keymintd

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"nexus.internal/os/services/secret"
)

// block is one vector: what stands before each colon, lines of one name joined.
type block struct {
	t      *testing.T
	fields map[string]string
}

func readVectors(tb testing.TB) []map[string]string {
	var text []byte
	for _, file := range []string{"testdata/primitives.txt", "testdata/files.txt"} {
		part, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		text = append(text, part...)
	}
	var blocks []map[string]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			tb.Fatalf("not a field: %q", line)
		}
		if name == "name" {
			blocks = append(blocks, make(map[string]string))
		}
		blocks[len(blocks)-1][name] += strings.TrimPrefix(value, " ")
	}
	return blocks
}

func (b block) text(name string) string {
	b.t.Helper()
	text, ok := b.fields[name]
	if !ok {
		b.t.Fatalf("no field %q", name)
	}
	return text
}

func (b block) bytes(name string) []byte {
	b.t.Helper()
	p, err := hex.DecodeString(b.text(name))
	if err != nil {
		b.t.Fatalf("field %q: %v", name, err)
	}
	return p
}

// optional is bytes for a field that may be missing.
func (b block) optional(name string) []byte {
	b.t.Helper()
	if _, ok := b.fields[name]; !ok {
		return nil
	}
	return b.bytes(name)
}

func (b block) key(name string) *secret.Bytes {
	b.t.Helper()
	return secret.Take(b.bytes(name))
}

func (b block) number(name string) uint64 {
	b.t.Helper()
	n, err := strconv.ParseUint(b.text(name), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b block) owner() owner {
	return owner{user: b.text("user"), incarnation: [Incarnation]byte(b.bytes("incarnation"))}
}

func (b block) chance() *chance {
	c := chance(b.bytes("chance"))
	return &c
}

// same checks a result against the vector's field.
func (b block) same(name string, got []byte) {
	b.t.Helper()
	if want := b.bytes(name); !bytes.Equal(got, want) {
		b.t.Errorf("%s is %x, want %x", name, got, want)
	}
}

// resealed checks that sealing again gives the vector's data, where the vector
// says what chance it was made from.
func (b block) resealed(seal func(c *chance) []byte) {
	b.t.Helper()
	if _, ok := b.fields["chance"]; ok {
		b.same("data", seal(b.chance()))
	}
}

// class is how a vector calls an error.
func class(err error) string {
	var at damageAt
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &at):
		return fmt.Sprintf("damaged@%d", int64(at))
	case errors.Is(err, errLayout):
		return "layout"
	case errors.Is(err, errVersion):
		return "version"
	case errors.Is(err, errWrongKey):
		return "wrong-key"
	case errors.Is(err, errNotAuthentic):
		return "not-authentic"
	case errors.Is(err, errNoProtector):
		return "no-protector"
	}
	return "unclassed: " + err.Error()
}

// vectorKinds run a vector, check what it says of a good one, and return the
// error.
var vectorKinds = map[string]func(b block) error{
	"kek":       kekVector,
	"subkeys":   subkeysVector,
	"wrap":      wrapVector,
	"salt":      saltVector,
	"root":      rootVector,
	"ring":      ringVector,
	"record":    recordVector,
	"segment":   segmentVector,
	"blob":      blobVector,
	"appdata":   appDataVector,
	"keyhead":   keyHeadVector,
	"signature": signatureVector,
}

func TestVectors(t *testing.T) {
	names := make(map[string]bool)
	count := make(map[string]int)
	for _, fields := range readVectors(t) {
		name := fields["name"]
		if name == "" || names[name] {
			t.Errorf("vector %q is there twice", name)
		}
		names[name] = true
		count[fields["kind"]]++
		t.Run(name, func(t *testing.T) {
			b := block{t, fields}
			run := vectorKinds[b.text("kind")]
			if run == nil {
				t.Fatalf("unknown kind %q", b.text("kind"))
			}
			if got := class(run(b)); got != b.text("expect") {
				t.Errorf("got %s, want %s", got, b.text("expect"))
			}
		})
	}
	for kind := range vectorKinds {
		if count[kind] == 0 {
			t.Errorf("no vector of kind %s", kind)
		}
	}
}

func kekVector(b block) error {
	kek := deriveKEK(b.bytes("auth"), b.bytes("salt"), b.owner(), b.number("protector"))
	b.same("key", kek.Expose())
	return nil
}

func subkeysVector(b block) error {
	k := deriveSubkeys(b.key("root"))
	b.same("rings", k.rings.Expose())
	b.same("names", k.names.Expose())
	b.same("nonce", k.chain.nonce.Expose())
	b.same("encrypt", k.chain.key.Expose())
	return nil
}

func wrapVector(b block) error {
	under, ad, data := b.key("under"), b.bytes("ad"), b.bytes("data")
	plain, err := unwrap(under, ad, data)
	if err != nil {
		return err
	}
	b.same("plain", plain.Expose())
	b.resealed(func(c *chance) []byte { return wrap(under, c, ad, plain.Expose()) })
	if _, ok := b.fields["second"]; ok {
		// What the commitment is for: without it the second key opens the
		// same bytes to another plaintext.
		nonce := data[1:commitOffset]
		key := derive(b.key("second"), "nexus wrap v1 encrypt", nonce)
		other, err := decrypt(key, nonce, ad, data[sealedOffset:])
		if err != nil {
			b.t.Fatal("the sealed part does not open under the second key")
		}
		b.same("secondplain", other.Expose())
		if _, err := unwrap(b.key("second"), ad, data); !errors.Is(err, errWrongKey) {
			b.t.Errorf("the wrap under the second key: %v", err)
		}
	}
	return nil
}

func saltVector(b block) error {
	salt, err := decodeSalt(b.bytes("data"))
	if err != nil {
		return err
	}
	b.same("salt", salt[:])
	b.same("data", encodeSalt(&salt))
	return nil
}

func rootVector(b block) error {
	of, p := b.owner(), protector{id: b.number("protector"), auth: b.bytes("auth")}
	k, err := decodeRootKeys(b.bytes("data"), of)
	if err != nil {
		return err
	}
	root, err := k.open(of, p, b.bytes("salt"))
	if err != nil {
		return err
	}
	b.same("root", root.Expose())
	b.same("data", k.encode())
	b.resealed(func(c *chance) []byte {
		made := &rootKeys{incarnation: of.incarnation, generation: k.generation - 1, epoch: k.epoch}
		made.add(of, p, b.bytes("salt"), c, root)
		made.seal(root)
		return made.encode()
	})
	return nil
}

func ringVector(b block) error {
	of, app, under := b.owner(), b.text("app"), b.key("rings")
	id := fileID(b.key("names"), app)
	r, err := openRing(under, b.key("names"), of, id, b.bytes("data"))
	if err != nil {
		return err
	}
	b.same("file", id[:])
	b.same("key", r.data.Expose())
	for i, k := range r.former {
		at := i * ringFormer
		if f := b.bytes("former")[at:][:ringFormer]; !bytes.Equal(k.id[:], f[:KeyIDSize]) || !bytes.Equal(k.data.Expose(), f[KeyIDSize:]) {
			b.t.Errorf("former data key %d is another one", i)
		}
	}
	if len(r.former)*ringFormer != len(b.optional("former")) {
		b.t.Errorf("%d former data keys", len(r.former))
	}
	says := fmt.Sprintf("%d %d %x", r.generation, r.last, r.dead)
	for _, k := range r.keys {
		secret := k.public
		if k.state == stateActive {
			secret = k.seed.Expose()
		}
		says += fmt.Sprintf(" %s:%d:%d:%d:%d:%d:%x", k.name, k.purpose, k.uses, k.state, k.version, k.number, secret)
	}
	if says != b.text("says") {
		b.t.Errorf("the ring says %s, want %s", says, b.text("says"))
	}
	b.resealed(func(c *chance) []byte { return sealRing(under, c, of, id, r) })
	return nil
}

// ring is an app's, with the data key that the block says, and the former ones.
func (b block) ring() *ring {
	r := newRing(b.text("app"), b.key("key"))
	for f := b.optional("former"); len(f) > 0; f = f[ringFormer:] {
		r.former = append(r.former, formerKey{[KeyIDSize]byte(f), secret.Copy(f[KeyIDSize:ringFormer])})
	}
	return r
}

func recordVector(b block) error {
	place := recordPlace{
		owner: b.owner(), app: b.text("app"), sequence: b.number("sequence"), kind: uint8(b.number("recordkind")),
	}
	keys := newSealer(b.key("key"), "nexus record v1")
	name, value, err := openRecord(keys, place, b.bytes("data"))
	if err != nil {
		return err
	}
	if name != b.text("recordname") {
		b.t.Errorf("name %q", name)
	}
	b.same("value", value)
	b.resealed(func(c *chance) []byte { return sealRecord(keys, c, place, name, value) })
	return nil
}

func segmentVector(b block) error {
	chain := deriveSubkeys(b.key("root")).chain
	ad := segmentAD(b.owner(), b.bytes("header"))
	body, err := chain.open(ad, b.bytes("data"))
	if err != nil {
		return err
	}
	b.same("body", body.Expose())
	b.resealed(func(c *chance) []byte { return chain.seal(nil, c, ad, body.Expose()) })
	return nil
}

func blobVector(b block) error {
	of, app := b.owner(), b.text("app")
	r, id := b.ring(), fileID(b.key("names"), app)
	k, err := openBlob(r, of, id, b.bytes("data"))
	if err != nil {
		return err
	}
	b.same("seed", k.seed.Expose())
	if says := fmt.Sprint(k.purpose, k.uses, k.version, k.number); says != b.text("says") {
		b.t.Errorf("the blob says %s, want %s", says, b.text("says"))
	}
	b.resealed(func(c *chance) []byte { return sealBlob(r, c, of, id, k) })
	return nil
}

func appDataVector(b block) error {
	of, app, associated := b.owner(), b.text("app"), b.bytes("associated")
	r, id := b.ring(), fileID(b.key("names"), app)
	plain, err := openAppData(r, of, id, associated, b.bytes("data"))
	if err != nil {
		return err
	}
	data := plain.Expose()[appDataLength:][:binary.LittleEndian.Uint16(plain.Expose())]
	b.same("plain", data)
	b.resealed(func(c *chance) []byte { return sealAppData(r, c, of, id, associated, data) })
	return nil
}

func keyHeadVector(b block) error {
	of, under := b.owner(), derive(b.key("root"), "nexus root v2 keyhead")
	h, err := openKeyHead(under, of, b.bytes("data"))
	if err != nil {
		return err
	}
	says := fmt.Sprintf("%d %x", h.generation, h.sum)
	for _, r := range h.rings {
		says += fmt.Sprintf(" %x:%d:%v:%d", r.id, r.generation, r.destroyed, r.names)
	}
	if says != b.text("says") {
		b.t.Errorf("the head says %s, want %s", says, b.text("says"))
	}
	b.resealed(func(c *chance) []byte { return sealKeyHead(under, c, of, h) })
	return nil
}

func signatureVector(b block) error {
	seed, message := b.key("seed"), b.bytes("message")
	public, signature := publicOf(seed), sign(seed, message)
	b.same("public", public)
	b.same("signature", signature)
	if !ed25519.Verify(public, message, signature) {
		b.t.Error("the signature does not verify")
	}
	return nil
}
