package script

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// rightNames are the token's rights as scripts spell them.
var rightNames = map[string]capability.TokenRights{
	"put": capability.Put, "get": capability.Get, "del": capability.Del, "list": capability.List,
	"generate": capability.Generate, "sign": capability.Sign, "wrap": capability.Wrap, "seal": capability.Seal,
	"all": capability.AllTokenRights,
}

func launch(r *Strand, a []string) (string, error) {
	rights := boot.AppRights
	if len(a) == 2 {
		rights = 0
		for name := range strings.SplitSeq(a[1], ",") {
			bit, ok := rightNames[name]
			if !ok {
				return "", usage("no right is called %q", name)
			}
			rights |= bit
		}
	}
	r.exitApp(a[0])
	_, err := r.app(a[0], rights)
	return "", err
}

// uninstall leaves nothing of an app. If it runs, it ends; its next use is that
// of an app that was never there.
func uninstall(r *Strand, a []string) (string, error) {
	user, app, ok := strings.Cut(a[0], "/")
	if !ok {
		return "", usage("%q is not USER/APP", a[0])
	}
	sid, err := r.sid(user)
	if err != nil {
		return "", err
	}
	err = r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error { return l.Uninstall(ctx, sid, app) })
	if err == nil {
		r.exitApp(a[0])
	}
	return "", err
}

func put(r *Strand, a []string) (string, error) {
	return "", r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		return putValue(ctx, app, a[1], secret.Copy(r.secret(a[2])))
	})
}

func putValue(ctx context.Context, app *boot.App, name string, value *secret.Bytes) error {
	defer value.Wipe()
	return app.Keychain.Put(ctx, name, value)
}

func get(r *Strand, a []string) (string, error) {
	var found *secret.Bytes
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		value, stale, err := app.Keychain.GetSalvaged(ctx, a[1])
		if err != nil {
			return err
		}
		defer value.Wipe()
		if len(a) == 3 && !bytes.Equal(value.Expose(), r.secret(a[2])) {
			return fmt.Errorf("%w: another value is stored", ErrMismatch)
		}
		found = quoted(value.Expose())
		if stale {
			found = marked(found, " (salvaged: it may be out of date)")
		}
		return nil
	})
	return r.show(found, err)
}

// foundOut is what a verb has found out, which is nothing if it failed.
func foundOut(text string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return text, nil
}

func del(r *Strand, a []string) (string, error) {
	return "", r.AsApp(a[0], func(ctx context.Context, app *boot.App) error { return app.Keychain.Delete(ctx, a[1]) })
}

func list(r *Strand, a []string) (string, error) {
	var names []string
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) (err error) {
		names, err = app.Keychain.List(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return sameNames(names, a[1:])
}

// steal presents one app's genuine token from another app's task.
func steal(r *Strand, a []string) (string, error) {
	victim, err := r.app(a[1], boot.AppRights)
	if err != nil {
		return "", err
	}
	return "", r.AsApp(a[0], func(ctx context.Context, thief *boot.App) error {
		cfg := thief.Config
		cfg.Token = victim.Config.Token
		value, err := keychain.New(thief.Task, cfg).Get(ctx, a[2])
		if err == nil {
			value.Wipe()
		}
		return err
	})
}

// putNames is how many names puts uses in turn: fewer than an app may have.
const putNames = 100

func putName(prefix string, i int) string { return prefix + strconv.Itoa(i%putNames) }

// number reads an argument that counts something, from 1 on.
func number(word string, most int) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 || n > most {
		return 0, usage("%q is no number from 1 to %d", word, most)
	}
	return n, nil
}

// maxPuts is how many puts one line may do.
const maxPuts = 1_000_000_000

func puts(r *Strand, a []string) (string, error) {
	count, err := number(a[2], maxPuts)
	if err != nil {
		return "", err
	}
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		for i := 1; i <= count; i++ {
			if r.stopped.Load() {
				return ErrStopped
			}
			name := putName(a[1], i)
			if err := r.onePut(ctx, app, a[0], name, strconv.Itoa(i)); err != nil {
				return fmt.Errorf("%s, put as number %d: %w", name, i, err)
			}
			r.tell(Result{Line: r.line, Strand: r.name, Verb: "puts", Args: []string{a[0], name}, Text: strconv.Itoa(i)})
		}
		return nil
	})
	return fmt.Sprintf("%d puts", count), err
}

// onePut is one put of many, of which a witness hears by itself.
func (r *Strand) onePut(ctx context.Context, app *boot.App, who, name, value string) error {
	if r.witness == nil {
		return putValue(ctx, app, name, secret.Copy([]byte(value)))
	}
	step := r.begin([]string{"put", who, name, value})
	_, err := r.outcome("", putValue(ctx, app, name, secret.Copy([]byte(value))))
	r.end(step, "", err)
	return err
}

// checkPuts finds under each name the last number that was acknowledged, or the
// one put that may have become durable without being acknowledged.
func checkPuts(r *Strand, a []string) (string, error) {
	last, err := number(a[2], maxPuts)
	if err != nil {
		return "", err
	}
	first := max(1, last-putNames+1)
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		for i := first; i <= last; i++ {
			if r.stopped.Load() {
				return ErrStopped
			}
			if err := checkPut(ctx, app, putName(a[1], i), i, last+1); err != nil {
				return fmt.Errorf("%s, put as number %d: %w", putName(a[1], i), i, err)
			}
		}
		return nil
	})
	return fmt.Sprintf("%d names hold the newest of %d puts", last-first+1, last), err
}

// checkPut wants a number under a name, or the next one after the last if it is
// that one's turn.
func checkPut(ctx context.Context, app *boot.App, name string, want, next int) error {
	value, err := app.Keychain.Get(ctx, name)
	if err != nil {
		return err
	}
	defer value.Wipe()
	found := string(value.Expose())
	if found == strconv.Itoa(want) || next%putNames == want%putNames && found == strconv.Itoa(next) {
		return nil
	}
	return fmt.Errorf("%w: another value is stored", ErrMismatch)
}
