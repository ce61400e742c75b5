package keychain_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/actors/seeded"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/tests/rig"
)

// method is one of the client's, called with a name.
type method struct {
	name string
	keys bool // goes to keymintd
	call func(ctx context.Context, c *keychain.Client, name string) error
	sent proto.Message // what it sends for the name "n"
	op   uint16
}

var methods = []method{
	{"Put", false, func(ctx context.Context, c *keychain.Client, n string) error {
		return c.Put(ctx, n, secret.Copy([]byte("v")))
	}, &wire.PutRequest{Name: "n", Value: []byte("v")}, wire.OpPut},
	{"Get", false, func(ctx context.Context, c *keychain.Client, n string) error { _, err := c.Get(ctx, n); return err },
		&wire.GetRequest{Name: "n"}, wire.OpGet},
	{"Delete", false, func(ctx context.Context, c *keychain.Client, n string) error { return c.Delete(ctx, n) },
		&wire.DeleteRequest{Name: "n"}, wire.OpDelete},
	{"List", false, func(ctx context.Context, c *keychain.Client, _ string) error { _, err := c.List(ctx); return err },
		&wire.ListRequest{}, wire.OpList},
	{"Generate", true, func(ctx context.Context, c *keychain.Client, n string) error {
		_, err := c.Generate(ctx, n)
		return err
	},
		&wire.GenerateKeyRequest{Name: "n"}, wire.OpGenerateKey},
	{"Public", true, func(ctx context.Context, c *keychain.Client, n string) error { _, err := c.Public(ctx, n); return err },
		&wire.PublicKeyRequest{Name: "n"}, wire.OpPublicKey},
	{"Sign", true, func(ctx context.Context, c *keychain.Client, n string) error {
		_, err := c.Sign(ctx, n, []byte("m"))
		return err
	}, &wire.SignRequest{Name: "n", Message: []byte("m")}, wire.OpSign},
	{"Keys", true, func(ctx context.Context, c *keychain.Client, _ string) error { _, err := c.Keys(ctx); return err },
		&wire.ListKeysRequest{}, wire.OpListKeys},
	{"DeleteKey", true, func(ctx context.Context, c *keychain.Client, n string) error { return c.DeleteKey(ctx, n) },
		&wire.DeleteKeyRequest{Name: "n"}, wire.OpDeleteKey},
	{"Wrap", true, func(ctx context.Context, c *keychain.Client, n string) error { _, err := c.Wrap(ctx, n); return err },
		&wire.WrapKeyRequest{Name: "n"}, wire.OpWrapKey},
	{"Unwrap", true, func(ctx context.Context, c *keychain.Client, n string) error {
		_, err := c.Unwrap(ctx, n, []byte("b"))
		return err
	}, &wire.UnwrapKeyRequest{Name: "n", Blob: []byte("b")}, wire.OpUnwrapKey},
}

// named says whether the method takes a name.
func (m *method) named() bool { return m.name != "List" && m.name != "Keys" }

func (b *bench) server(m *method) *server {
	if m.keys {
		return b.keys
	}
	return b.store
}

// TestRequests sends each request, and looks at what arrives: the operation,
// its fields, and the namespace that nobody but the kernel wrote.
func TestRequests(t *testing.T) {
	b := newBench(t)
	for _, m := range methods {
		must(t, m.call(t.Context(), b.client, "n"))
		got := b.server(&m).take()
		if len(got) != 1 || got[0].op != m.op || got[0].body != string(encode(t, m.sent)) {
			t.Errorf("%s sent %+v", m.name, got)
			continue
		}
		if s := got[0].stamp; s.User != "alice" || s.App != "notes" || !s.Unsealed {
			t.Errorf("%s is stamped %+v", m.name, s)
		}
	}
}

// TestReplies has the servers answer, and looks at what the client returns.
func TestReplies(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.store.will(reply(t, &wire.GetReply{Value: []byte("value")}))
	one, err := b.client.Get(ctx, "n")
	must(t, err)
	two, err := b.client.Get(ctx, "n")
	must(t, err)
	one.Wipe()
	if string(two.Expose()) != "value" {
		t.Errorf("got %q after another answer was wiped", two.Expose())
	}
	b.keys.will(reply(t, &wire.GenerateKeyReply{Public: []byte("public")}))
	for name, call := range map[string]func() ([]byte, error){
		"Generate": func() ([]byte, error) { return b.client.Generate(ctx, "n") },
		"Public":   func() ([]byte, error) { return b.client.Public(ctx, "n") },
		"Sign":     func() ([]byte, error) { return b.client.Sign(ctx, "n", nil) },
		"Wrap":     func() ([]byte, error) { return b.client.Wrap(ctx, "n") },
		"Unwrap":   func() ([]byte, error) { return b.client.Unwrap(ctx, "n", nil) },
	} {
		if got, err := call(); err != nil || string(got) != "public" {
			t.Errorf("%s returns %q, %v", name, got, err)
		}
	}
	b.store.will(func(uint16, []byte) (ipc.Code, []byte) { return ipc.OK, []byte("\xff not a message") })
	for _, m := range methods[:4] {
		if err := m.call(ctx, b.client, "n"); !errors.Is(err, keychain.ErrMalformed) {
			t.Errorf("%s of nonsense: %v", m.name, err)
		}
	}
}

// TestPutLeavesTheValue says that a value stays its caller's.
func TestPutLeavesTheValue(t *testing.T) {
	b := newBench(t)
	value := secret.Copy([]byte("value"))
	must(t, b.client.Put(t.Context(), "n", value))
	b.store.will(refuse(ipc.Quota))
	if err := b.client.Put(t.Context(), "n", value); !errors.Is(err, keychain.ErrQuota) {
		t.Error(err)
	}
	if string(value.Expose()) != "value" {
		t.Errorf("the value is %q now", value.Expose())
	}
	must(t, func() error { b.store.will(nil); b.store.take(); return b.client.Put(t.Context(), "n", nil) }())
	if got := b.store.take(); len(got) != 1 || got[0].body != string(encode(t, &wire.PutRequest{Name: "n"})) {
		t.Errorf("no value was sent as %+v", got)
	}
}

// TestLimitsBeforeTheCall tries each limit at one below, at it, and one above:
// then nothing is sent.
func TestLimitsBeforeTheCall(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	try := func(what string, n, most int, code error, call func() error) {
		t.Helper()
		before, err := b.calls(), call()
		sent := b.calls() - before
		switch {
		case n <= most && (err != nil || sent != 1):
			t.Errorf("%s of %d: %v, %d calls", what, n, err, sent)
		case n > most && (!errors.Is(err, code) || sent != 0):
			t.Errorf("%s of %d: %v, %d calls, want %v and none", what, n, err, sent, code)
		}
	}
	for _, m := range methods {
		most, code := keychain.MaxName, keychain.ErrMalformed
		if m.keys {
			most, code = keychain.MaxKeyName, keychain.ErrTooLarge
		}
		for n := most - 1; m.named() && n <= most+1; n++ {
			try(m.name+" with a name", n, most, code, func() error { return m.call(ctx, b.client, strings.Repeat("n", n)) })
		}
	}
	for n := keychain.MaxValue - 1; n <= keychain.MaxValue+1; n++ {
		try("Put of a value", n, keychain.MaxValue, keychain.ErrTooLarge, func() error {
			return b.client.Put(ctx, strings.Repeat("n", keychain.MaxName), secret.New(n))
		})
	}
	for n := keychain.MaxMessage - 1; n <= keychain.MaxMessage+1; n++ {
		try("Sign of a message", n, keychain.MaxMessage, keychain.ErrTooLarge, func() error {
			_, err := b.client.Sign(ctx, "n", make([]byte, n))
			return err
		})
	}
}

// TestNamesBeforeTheCall tries names that are not canonical: nothing is sent.
func TestNamesBeforeTheCall(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"", " ", "a b", "a\n", "\x00", "\x1b[2J", "a\x7f", "é", "\xff", strings.Repeat(" ", 300)} {
		for _, m := range methods {
			if !m.named() {
				continue
			}
			before := b.calls()
			if err := m.call(t.Context(), b.client, name); !errors.Is(err, keychain.ErrMalformed) || b.calls() != before {
				t.Errorf("%s(%q): %v, %d calls", m.name, name, err, b.calls()-before)
			}
		}
	}
}

// TestErrors has the servers answer with every code there is.
func TestErrors(t *testing.T) {
	known := []error{
		keychain.ErrNotFound, keychain.ErrDenied, keychain.ErrSealed, keychain.ErrQuota, keychain.ErrTooLarge, keychain.ErrMalformed,
		keychain.ErrTimedOut, keychain.ErrCanceled, keychain.ErrUnavailable, keychain.ErrExists, keychain.ErrLimit, keychain.ErrDamaged, keychain.ErrIO,
	}
	b := newBench(t)
	for code := ipc.PermissionDenied; code.Valid(); code++ {
		for _, s := range []*server{b.store, b.keys} {
			s.will(refuse(code))
		}
		code := code
		if code == ipc.NoSuchEndpoint {
			code = ipc.Unavailable // A service that is gone for good is that to an app.
		}
		for _, m := range methods {
			err := m.call(t.Context(), b.client, "n")
			if !errors.Is(err, code) {
				t.Errorf("%s: %v, want %v", m.name, err, code)
			}
			for _, k := range known {
				if errors.Is(err, k) != (k == error(code)) {
					t.Errorf("%s: %v is taken for %v", m.name, err, k)
				}
			}
		}
	}
	fault := &wire.FaultDetail{File: "state:/identity/alice/vault.kv", Offset: 42}
	b.store.will(func(uint16, []byte) (ipc.Code, []byte) { return ipc.Damaged, encode(t, fault) })
	_, err := b.client.Get(t.Context(), "n")
	var f *wire.Fault
	if !errors.Is(err, keychain.ErrDamaged) || !errors.As(err, &f) || f.File != fault.File || f.Offset != fault.Offset {
		t.Errorf("a fault with a place: %v", err)
	}
}

// TestNoAnswer has the servers say nothing: the caller's deadline, or the end
// of the caller's patience, ends the call.
func TestNoAnswer(t *testing.T) {
	b := newBench(t)
	b.store.fallSilent()
	b.keys.fallSilent()
	for _, m := range methods {
		timed, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if err := m.call(timed, b.client, "n"); !errors.Is(err, keychain.ErrTimedOut) {
			t.Errorf("%s after its deadline: %v", m.name, err)
		}
		if err := m.call(timed, b.client, "n"); !errors.Is(err, keychain.ErrTimedOut) {
			t.Errorf("%s with a deadline in the past: %v", m.name, err)
		}
		cancel()

		ended, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		if err := m.call(ended, b.client, "n"); !errors.Is(err, keychain.ErrCanceled) {
			t.Errorf("%s when canceled: %v", m.name, err)
		}
		before := b.calls()
		if err := m.call(ended, b.client, "n"); !errors.Is(err, keychain.ErrCanceled) || b.calls() != before {
			t.Errorf("%s after it was canceled: %v, %d calls", m.name, err, b.calls()-before)
		}
		b.rig.Do(b.app, func(ctx context.Context) {
			limited, cancel := b.app.WithTimeout(ctx, 5*time.Millisecond)
			defer cancel()
			if err := m.call(limited, b.client, "n"); !errors.Is(err, keychain.ErrTimedOut) {
				t.Errorf("%s after the task's deadline: %v", m.name, err)
			}
		})
	}
}

// TestDeadlineOfTheKernel gives no deadline at all: in virtual time the
// kernel's own passes at once.
func TestDeadlineOfTheKernel(t *testing.T) {
	b := build(t, rig.NewSeeded(t, 1, nil))
	b.store.fallSilent()
	b.rig.Do(b.app, func(ctx context.Context) {
		began := b.app.Now()
		if _, err := b.client.Get(ctx, "n"); !errors.Is(err, keychain.ErrTimedOut) {
			t.Errorf("no answer: %v", err)
		}
		if took := b.app.Now() - began; took < ipc.Time(ipc.DefaultTimeout) {
			t.Errorf("it gave up after %v", time.Duration(took))
		}
	})
	if _, err := b.client.Get(t.Context(), "n"); !errors.Is(err, seeded.ErrForeign) {
		t.Errorf("another context, in a run by seed: %v", err)
	}
}

// TestPages has a list come in several answers, and in strange ones.
func TestPages(t *testing.T) {
	for name, pages := range map[string][]*wire.ListReply{
		"none":           {{}},
		"one":            {{Names: []string{"a", "b"}}},
		"three":          {{Names: []string{"a", "b"}, More: true}, {Names: []string{"c"}, More: true}, {Names: []string{"d"}}},
		"an empty last":  {{Names: []string{"a"}, More: true}, {}},
		"more, and none": {{Names: []string{"a"}, More: true}, {More: true}},
	} {
		b := newBench(t)
		var all, after []string
		n := 0
		next := func(_ uint16, body []byte) (ipc.Code, []byte) {
			var q wire.ListRequest
			must(t, proto.Unmarshal(body, &q))
			after = append(after, q.After)
			if n == len(pages) {
				return ipc.Unavailable, nil
			}
			n++
			return ipc.OK, encode(t, pages[n-1])
		}
		b.store.will(next)
		b.keys.will(next)
		for _, p := range pages {
			all = append(all, p.Names...)
		}
		for _, list := range []func(context.Context) ([]string, error){b.client.List, b.client.Keys} {
			n, after = 0, nil
			got, err := list(t.Context())
			if err != nil || !slices.Equal(got, all) || n != len(pages) {
				t.Errorf("%s: %q, %v, in %d answers", name, got, err, n)
			}
			if after[0] != "" || len(after) > 1 && after[1] != pages[0].Names[len(pages[0].Names)-1] {
				t.Errorf("%s: asked for what follows %q", name, after)
			}
		}
		pages = []*wire.ListReply{{Names: []string{"a"}, More: true}}
		n = 0
		if got, err := b.client.List(t.Context()); !errors.Is(err, keychain.ErrUnavailable) || got != nil {
			t.Errorf("%s, then an error: %q, %v", name, got, err)
		}
	}
}

// TestConcurrentUse uses one client from many goroutines: each gets its own answer.
func TestConcurrentUse(t *testing.T) {
	b := newBench(t)
	b.store.will(func(_ uint16, body []byte) (ipc.Code, []byte) {
		var q wire.GetRequest
		if proto.Unmarshal(body, &q) != nil {
			return ipc.Malformed, nil
		}
		return ipc.OK, encode(t, &wire.GetReply{Value: bytes.Repeat([]byte(q.Name), 100)})
	})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			name := strings.Repeat(string(rune('a'+i)), i+1)
			for range 50 {
				if got, err := b.client.Get(t.Context(), name); err != nil || string(got.Expose()) != strings.Repeat(name, 100) {
					t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
					return
				}
			}
		})
	}
	all.Wait()
}
