package flood

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/frame"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// others starts everybody who goes on with his work: rounds times each.
func (w *world) others(rounds int) []chan struct{} {
	return []chan struct{}{
		w.as(w.bob.Task, func(ctx context.Context) error { return work(ctx, "bob's notes", w.bob, rounds) }),
		w.as(w.mail.Task, func(ctx context.Context) error { return work(ctx, "alice's mail", w.mail, rounds) }),
		w.as(w.launcher.Task(), func(ctx context.Context) error { return w.manage(ctx, rounds) }),
	}
}

// work puts and gets, long values too, uses a key and asks for a route.
func work(ctx context.Context, who string, app *boot.App, rounds int) error {
	for i := range rounds {
		name, value := fmt.Sprint("name", i%8), fmt.Sprint("value ", i, " of ", who)
		if i%4 == 0 {
			name, value = "long", strings.Repeat(value, keychain.MaxValue/len(value))
		}
		if err := app.Keychain.Put(ctx, name, secret.Copy([]byte(value))); err != nil {
			return fmt.Errorf("%s: put %d: %w", who, i, err)
		}
		got, err := app.Keychain.Get(ctx, name)
		if err != nil || string(got.Expose()) != value {
			return fmt.Errorf("%s: get %d has %d bytes: %w", who, i, got.Len(), err)
		}
	}
	if err := signOnce(ctx, app); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return route(ctx, who, app)
}

// signOnce makes a key, signs with it and deletes it.
func signOnce(ctx context.Context, app *boot.App) error {
	message := []byte("a message")
	public, err := app.Keychain.Generate(ctx, "key")
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	signature, err := app.Keychain.Sign(ctx, "key", message)
	if err != nil || !ed25519.Verify(public, message, signature) {
		return fmt.Errorf("sign: a signature of %d bytes: %w", len(signature), err)
	}
	if err := app.Keychain.DeleteKey(ctx, "key"); err != nil {
		return fmt.Errorf("delete a key: %w", err)
	}
	return nil
}

func route(ctx context.Context, who string, app *boot.App) error {
	q, err := frame.RouteRequest{Name: "keystored", Nonce: 7}.Append(nil)
	if err != nil {
		return err
	}
	r, err := app.Task.Call(ctx, ipc.Msg{Slot: boot.SlotControl, Op: wire.OpRoute, Body: q, Move: ipc.NoSlot}, nil)
	if err != nil {
		return fmt.Errorf("%s: route: %w", who, err)
	}
	a, err := frame.ParseRouteAnswer(r.Body)
	if err != nil || a.Status != frame.RouteOK {
		return fmt.Errorf("%s: route: %v, %w", who, a.Status, err)
	}
	return nil
}

// manage locks and unseals carol's session, launches an app in it, and ends it.
func (w *world) manage(ctx context.Context, rounds int) error {
	l := w.launcher
	for i := range rounds {
		sid := w.sids["carol"]
		if err := l.Lock(ctx, sid); err != nil {
			return fmt.Errorf("lock %d: %w", i, err)
		}
		if err := l.Unseal(ctx, sid, password("carol")); err != nil {
			return fmt.Errorf("unseal %d: %w", i, err)
		}
		app, err := l.Launch(ctx, sid, "notes", boot.AppRights)
		if err != nil {
			return fmt.Errorf("launch %d: %w", i, err)
		}
		app.Exit()
		if err := l.End(ctx, sid); err != nil {
			return fmt.Errorf("end %d: %w", i, err)
		}
		if err := w.login(ctx, "carol"); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
	}
	return nil
}
