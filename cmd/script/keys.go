package script

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// useNames are the uses of a key as scripts spell them.
var useNames = map[string]keychain.Uses{
	"sign": keychain.UseSign, "wrap": keychain.UseWrap, "sign,wrap": keychain.UseSign | keychain.UseWrap,
}

func generate(r *Strand, a []string) (string, error) {
	uses := useNames["sign,wrap"]
	if len(a) == 3 {
		uses = useNames[a[2]]
	}
	text := ""
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		public, err := app.Keychain.GenerateFor(ctx, a[1], uses)
		text = hex.EncodeToString(public)
		return err
	})
	return foundOut(text, err)
}

func sign(r *Strand, a []string) (string, error) {
	var signature []byte
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		made, version, err := app.Keychain.SignVersion(ctx, a[1], r.secret(a[2]))
		if err != nil {
			return err
		}
		signature = made
		return verifies(ctx, app, a[1], version, r.secret(a[2]), made)
	})
	if err != nil {
		return "", err
	}
	r.keepBytes("signature of", a[0], signature)
	return hex.EncodeToString(signature), nil
}

// verifies fails if the signature is not of that version of the key.
func verifies(ctx context.Context, app *boot.App, name string, version uint32, message, signature []byte) error {
	k, err := app.Keychain.Key(ctx, name, version)
	if err != nil {
		return err
	}
	verified := false
	secret.Do(func() { // What is verified lies on the stack meanwhile.
		verified = len(k.Public) == ed25519.PublicKeySize && ed25519.Verify(k.Public, message, signature)
	})
	if !verified {
		return fmt.Errorf("%w: the signature does not verify", ErrMismatch)
	}
	return nil
}

func verify(r *Strand, a []string) (string, error) {
	version, err := number(a[2], math.MaxInt32)
	if err != nil {
		return "", err
	}
	signature, err := r.keptBytes("signature of", a[0])
	if err != nil {
		return "", err
	}
	return "", r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		return verifies(ctx, app, a[1], uint32(version), r.secret(a[3]), signature)
	})
}

func keys(r *Strand, a []string) (string, error) {
	var names []string
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) (err error) {
		names, err = app.Keychain.Keys(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return sameNames(names, a[1:])
}

var stateNames = map[keychain.KeyState]string{keychain.Active: "active", keychain.Rotated: "rotated", keychain.Revoked: "revoked"}

func key(r *Strand, a []string) (string, error) {
	version, err := 0, error(nil)
	if len(a) == 3 {
		if version, err = number(a[2], math.MaxInt32); err != nil {
			return "", err
		}
	}
	text := ""
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		k, err := app.Keychain.Key(ctx, a[1], uint32(version))
		text = fmt.Sprintf("version %d, %s, %x", k.Version, stateNames[k.State], k.Public)
		return err
	})
	return foundOut(text, err)
}

func rotate(r *Strand, a []string) (string, error) {
	text := ""
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		public, version, err := app.Keychain.Rotate(ctx, a[1])
		text = fmt.Sprintf("version %d, %x", version, public)
		return err
	})
	return foundOut(text, err)
}

func revoke(r *Strand, a []string) (string, error) {
	return "", r.AsApp(a[0], func(ctx context.Context, app *boot.App) error { return app.Keychain.Revoke(ctx, a[1]) })
}

func delkey(r *Strand, a []string) (string, error) {
	return "", r.AsApp(a[0], func(ctx context.Context, app *boot.App) error { return app.Keychain.DeleteKey(ctx, a[1]) })
}

func wrap(r *Strand, a []string) (string, error) {
	return r.blob(a, func(ctx context.Context, c *keychain.Client) ([]byte, error) { return c.Wrap(ctx, a[1]) })
}

func detach(r *Strand, a []string) (string, error) {
	return r.blob(a, func(ctx context.Context, c *keychain.Client) ([]byte, error) { return c.Detach(ctx, a[1]) })
}

// blob shows what an app is given to keep, and keeps it.
func (r *Strand) blob(a []string, give func(ctx context.Context, c *keychain.Client) ([]byte, error)) (string, error) {
	var blob []byte
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) (err error) {
		blob, err = give(ctx, app.Keychain)
		return err
	})
	if err != nil {
		return "", err
	}
	r.keepBytes("blob of", a[0], blob)
	return hex.EncodeToString(blob), nil
}

func unwrap(r *Strand, a []string) (string, error) {
	blob, err := r.given("blob of", a[0], a[2])
	if err != nil {
		return "", err
	}
	text := ""
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		public, err := app.Keychain.Unwrap(ctx, a[1], blob)
		text = hex.EncodeToString(public)
		return err
	})
	return foundOut(text, err)
}

func sealData(r *Strand, a []string) (string, error) {
	var sealed []byte
	err := r.AsApp(a[0], func(ctx context.Context, app *boot.App) (err error) {
		data := secret.Copy(r.secret(a[2]))
		defer data.Wipe()
		sealed, err = app.Keychain.Seal(ctx, data, []byte(a[1]))
		return err
	})
	if err != nil {
		return "", err
	}
	r.keepBytes("sealed data of", a[0], sealed)
	return strconv.Itoa(len(sealed)) + " bytes", nil
}

func unsealData(r *Strand, a []string) (string, error) {
	sealed, err := r.given("sealed data of", a[0], a[2])
	if err != nil {
		return "", err
	}
	var found *secret.Bytes
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) error {
		data, err := app.Keychain.Unseal(ctx, sealed, []byte(a[1]))
		if err != nil {
			return err
		}
		defer data.Wipe()
		if len(a) == 4 && !bytes.Equal(data.Expose(), r.secret(a[3])) {
			return fmt.Errorf("%w: other data was sealed", ErrMismatch)
		}
		found = quoted(data.Expose())
		return nil
	})
	return r.show(found, err)
}

// given reads what an app was given to keep: hexadecimal digits, or the word for
// what it was given last.
func (r *Runner) given(what, app, word string) ([]byte, error) {
	if word == kept {
		return r.keptBytes(what, app)
	}
	b, err := hex.DecodeString(word)
	if err != nil {
		return nil, usage("%q is neither %s nor hexadecimal digits", word, kept)
	}
	return b, nil
}

func (r *Runner) keepBytes(what, app string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[what+" "+app] = b
}

func (r *Runner) keptBytes(what, app string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.kept[what+" "+app]
	if b == nil {
		return nil, usage("no %s %s is kept", what, app)
	}
	return bytes.Clone(b), nil
}
