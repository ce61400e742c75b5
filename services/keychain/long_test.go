package keychain_test

import (
	"errors"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// noneLeft says that the client has ended what it lent.
func (b *bench) noneLeft(what string) {
	b.t.Helper()
	if n := b.rig.Kernel.Stats().Memories; n != 0 {
		b.t.Errorf("%s: %d memory objects are left", what, n)
	}
}

// TestLongPut: a value up to the limit of a frame goes in it, one that is longer
// in an object, and nothing is left of it whatever the answer is.
func TestLongPut(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for _, n := range []int{4096, 4097, keychain.MaxValue} {
		value := secret.New(n)
		must(t, b.client.Put(ctx, "n", value))
		want := &wire.PutRequest{Name: "n", Size: uint32(n)}
		if n <= 4096 {
			want = &wire.PutRequest{Name: "n", Value: value.Expose()}
		}
		if got := b.store.take(); len(got) != 1 || got[0].body != string(encode(t, want)) {
			t.Errorf("%d bytes: sent %d requests, the first of %d bytes", n, len(got), len(got[0].body))
		}
		b.noneLeft("a put")
	}
	for _, code := range []ipc.Code{ipc.Denied, ipc.Quota, ipc.Unavailable} {
		b.store.will(func(uint16, []byte) (ipc.Code, []byte) { return code, nil })
		if err := b.client.Put(ctx, "n", secret.New(5000)); !errors.Is(err, code) {
			t.Errorf("%v, want %v", err, code)
		}
		b.noneLeft(code.Error())
	}
}

// TestLongGet has the server answer in every way to a get.
func TestLongGet(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for name, x := range map[string]struct {
		second func(op uint16, body []byte) (ipc.Code, []byte)
		value  string
		wanted error
	}{
		"a long one":         {reply(t, &wire.GetReply{Size: 5000}), strings.Repeat("\x00", 5000), nil},
		"the longest":        {reply(t, &wire.GetReply{Size: keychain.MaxValue}), strings.Repeat("\x00", keychain.MaxValue), nil},
		"a short one by now": {reply(t, &wire.GetReply{Value: []byte("short")}), "short", nil},
		"none by now":        {func(uint16, []byte) (ipc.Code, []byte) { return ipc.NotFound, nil }, "", ipc.NotFound},
		"sealed by now":      {func(uint16, []byte) (ipc.Code, []byte) { return ipc.Denied, nil }, "", ipc.Denied},
		"what cannot be":     {reply(t, &wire.GetReply{Size: keychain.MaxValue + 1}), "", ipc.Unavailable},
	} {
		asked := 0
		b.store.will(func(op uint16, body []byte) (ipc.Code, []byte) {
			if asked++; asked == 1 {
				return reply(t, &wire.GetReply{Size: 5000})(op, body)
			}
			return x.second(op, body)
		})
		value, err := b.client.Get(ctx, "n")
		if !errors.Is(err, x.wanted) || string(value.Expose()) != x.value || asked != 2 {
			t.Errorf("%s: %d bytes, %v, after %d calls", name, value.Len(), err, asked)
		}
		b.noneLeft(name)
	}
}

// TestNoMemoryLeft: an app that has used up its own memory is told so, and can
// still put and get short values.
func TestNoMemoryLeft(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for range ipc.MaxOwnerMemory / ipc.MaxMemory {
		_, err := b.app.NewMemory(ipc.MaxMemory)
		must(t, err)
	}
	if err := b.client.Put(ctx, "n", secret.New(5000)); !errors.Is(err, keychain.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
	must(t, b.client.Put(ctx, "n", secret.New(4096)))
	b.store.will(reply(t, &wire.GetReply{Size: 5000}))
	if _, err := b.client.Get(ctx, "n"); !errors.Is(err, keychain.ErrNoSpace) {
		t.Errorf("get: %v", err)
	}
}
