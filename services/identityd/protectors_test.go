package identityd

import (
	"context"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/guesses"
)

const (
	passwords = wire.CredentialKind_CREDENTIAL_KIND_PASSWORD
	pins      = wire.CredentialKind_CREDENTIAL_KIND_PIN
	papers    = wire.CredentialKind_CREDENTIAL_KIND_RECOVERY
)

// someKey is the text of a recovery key that nobody has.
const someKey = "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-KA1A"

// opens says whether a credential starts and unseals a session.
func (w *world) opens(ctx context.Context, c *wire.Credential) error {
	sid, err := w.start(ctx, "alice", c)
	if err != nil {
		return err
	}
	expect(w.t, "unseal", w.unseal(ctx, sid, c), nil)
	return w.end(ctx, sid)
}

// TestRecoveryKey: it opens what the password opens, as it was typed, and only
// till there is another one.
func TestRecoveryKey(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "a key that there is not", w.opens(ctx, paper(someKey)), ipc.BadSecret)
		_, err := w.recovery(ctx, "alice", wrong)
		expect(t, "make one with a wrong secret", err, ipc.BadSecret)
		first, err := w.recovery(ctx, "alice", right)
		expect(t, "make one", err, nil)
		expect(t, "open", w.opens(ctx, first), nil)
		text := string(first.Secret)
		expect(t, "as it was typed", w.opens(ctx, paper(strings.ToLower(strings.ReplaceAll(text, "-", " ")))), nil)
		expect(t, "as a password", w.opens(ctx, password(text)), ipc.BadSecret)
		expect(t, "cut short", w.opens(ctx, paper(text[:len(text)-1])), ipc.BadSecret)
		expect(t, "another key", w.opens(ctx, paper(someKey)), ipc.BadSecret)
		second, err := w.recovery(ctx, "alice", first)
		expect(t, "make another with it", err, nil)
		if string(second.Secret) == text {
			t.Error("two recovery keys are one")
		}
		expect(t, "open with the first", w.opens(ctx, first), ipc.BadSecret)
		expect(t, "open with the second", w.opens(ctx, second), nil)
		expect(t, "open with the password", w.opens(ctx, right), nil)
		expect(t, "a forgotten password", w.set(ctx, "alice", second, fresh), nil)
		expect(t, "open with the new password", w.opens(ctx, fresh), nil)
	})
}

// TestRecoveryKeyIsDrawn: nobody can choose one.
func TestRecoveryKeyIsDrawn(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		expect(t, "set", w.set(ctx, "alice", right, paper(someKey)), ipc.Malformed)
		expect(t, "create", w.create(ctx, "bob", paper(someKey)), ipc.Malformed)
		expect(t, "open", w.opens(ctx, paper(someKey)), ipc.BadSecret)
	})
}

// TestRecoveryKeyDoesNotWait: it neither waits nor counts; a right one gives the
// free guesses back.
func TestRecoveryKeyDoesNotWait(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		key, err := w.recovery(ctx, "alice", right)
		expect(t, "make one", err, nil)
		for range guesses.Free + 1 {
			expect(t, "a wrong guess", w.guess(ctx, "alice", wrong), ipc.BadSecret)
		}
		w.later(ctx, "alice", right, 30)
		w.until(ctx, "alice", guesses.First-2*1e9)
		for range 2 * guesses.Free {
			expect(t, "a wrong key", w.guess(ctx, "alice", paper(someKey)), ipc.BadSecret)
			if n := w.failures("alice"); n != guesses.Free+1 {
				t.Errorf("%d failures on the disk", n)
			}
		}
		w.later(ctx, "alice", right, 2) // A wrong key began no wait anew.
		expect(t, "the right key", w.guess(ctx, "alice", key), nil)
		expect(t, "the right password", w.guess(ctx, "alice", right), nil)
	})
}

// TestLastCredentialStays takes away one after the other.
func TestLastCredentialStays(t *testing.T) {
	w := newAlice(t, 1)
	w.do(func(ctx context.Context) {
		remove := func(have *wire.Credential, kind wire.CredentialKind, anyway bool) error {
			return w.removeCredential(ctx, "alice", have, kind, anyway)
		}
		for _, anyway := range []bool{false, true} {
			expect(t, "remove the only one", remove(right, passwords, anyway), ipc.LastOne)
			expect(t, "remove one that she lacks", remove(right, pins, anyway), ipc.NotFound)
		}
		expect(t, "remove with a wrong secret", remove(wrong, passwords, true), ipc.BadSecret)
		expect(t, "remove no kind", remove(right, 0, true), ipc.Malformed)
		expect(t, "remove an unknown kind", remove(right, 9, true), ipc.Malformed)
		key, err := w.recovery(ctx, "alice", right)
		expect(t, "make a recovery key", err, nil)
		expect(t, "leave nothing but paper", remove(right, passwords, false), ipc.LastOne)
		expect(t, "open with the password", w.opens(ctx, right), nil)
		expect(t, "leave nothing but paper, anyway", remove(right, passwords, true), nil)
		expect(t, "open with the password", w.opens(ctx, right), ipc.BadSecret)
		expect(t, "remove the paper", remove(key, papers, true), ipc.LastOne)
		expect(t, "open with the paper", w.opens(ctx, key), nil)
		expect(t, "set a PIN", w.set(ctx, "alice", key, number), nil)
		expect(t, "remove the paper", remove(number, papers, false), nil)
		expect(t, "open with the paper", w.opens(ctx, key), ipc.BadSecret)
		expect(t, "open with the PIN", w.opens(ctx, number), nil)
		if n := len(w.disk.roots["alice"].wraps); n != 1 {
			t.Errorf("keymintd has %d wraps of one protector", n)
		}
	})
}
