package script

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// send makes one system call with whatever bytes the script wants, from an
// app's task.
func send(r *Strand, a []string) (string, error) {
	body, err := hex.DecodeString(a[3])
	if err != nil {
		return "", usage("%q is not hexadecimal", a[3])
	}
	other, err := r.others(a[4:])
	if err != nil {
		return "", err
	}
	text := ""
	err = r.AsApp(a[0], func(ctx context.Context, app *boot.App) (err error) {
		m := ipc.Msg{Body: body, Move: ipc.NoSlot, Token: other}
		service := ""
		if m.Slot, service, err = r.address(app, a[1]); err != nil {
			return err
		}
		if m.Op, err = opcode(service, a[2]); err != nil {
			return err
		}
		if m.Token == nil {
			if m.Token, err = r.token(app, a[0], a[4:]); err != nil {
				return err
			}
		}
		reply, err := app.Task.Call(ctx, m, nil)
		text = hex.EncodeToString(reply.Body)
		if err != nil && text != "" {
			err = &Refused{Err: err, Body: reply.Body}
		}
		return err
	})
	return foundOut(text, err)
}

// Refused is a refusal that came with a body. Its text is that of the refusal.
type Refused struct {
	Err  error
	Body []byte
}

func (e *Refused) Error() string { return e.Err.Error() }

// Unwrap returns the refusal.
func (e *Refused) Unwrap() error { return e.Err }

// others is the token that of:USER/APP means, of an app that is launched if it
// does not run; nil for any other word.
func (r *Strand) others(words []string) (*capability.Token, error) {
	if len(words) == 0 {
		return nil, nil
	}
	name, ok := strings.CutPrefix(words[0], "of:")
	if !ok {
		return nil, nil
	}
	app, err := r.app(name, boot.AppRights)
	if err != nil {
		return nil, err
	}
	token := app.Config.Token
	return &token, nil
}

// address is the slot that a word means in an app's table, and whose it is if
// that is known.
func (r *Strand) address(app *boot.App, word string) (ipc.Slot, string, error) {
	switch word {
	case "store":
		return app.Config.Store, boot.KeyStoreD, nil
	case "keys":
		return app.Config.Keys, boot.KeyMintD, nil
	}
	if n, err := strconv.ParseUint(word, 10, 16); err == nil {
		return ipc.Slot(n), "", nil
	}
	service, _, _ := strings.Cut(word, ".")
	if slot, ok := app.Reaches(word); ok {
		return slot, service, nil
	}
	return 0, "", usage("an app has no capability for %q; it has store, keys, or a slot's number", word)
}

// opcode is an operation's name or number.
func opcode(service, word string) (uint16, error) {
	if op, ok := wire.OpCode(service, word); ok {
		return op, nil
	}
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil {
		return 0, usage("%q is no operation", word)
	}
	return uint16(n), nil
}

// token is what a script means by own (which is the default), none, old (that
// of the app before its newest launch), flip:BIT, or the bytes themselves.
func (r *Strand) token(app *boot.App, name string, words []string) (*capability.Token, error) {
	word := "own"
	if len(words) > 0 {
		word = words[0]
	}
	token := app.Config.Token
	switch bit, flip := strings.CutPrefix(word, "flip:"); {
	case word == "own":
		return &token, nil
	case word == "none":
		return nil, nil
	case word == "old":
		old, ok := r.voidToken(name)
		if !ok {
			return nil, usage("%s has had no token before", name)
		}
		return &old, nil
	case flip:
		n, err := strconv.ParseUint(bit, 10, 16)
		if err != nil || n >= capability.TokenSize*8 {
			return nil, usage("%q is no bit of a token: they are 0 to %d", bit, capability.TokenSize*8-1)
		}
		token[n/8] ^= 1 << (n % 8)
		return &token, nil
	}
	b, err := hex.DecodeString(word)
	if err != nil || len(b) != capability.TokenSize {
		return nil, usage("a token is own, none, old, flip:BIT, of:USER/APP, or %d bytes in hexadecimal", capability.TokenSize)
	}
	return (*capability.Token)(b), nil
}

func (r *Runner) voidToken(name string) (capability.Token, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.void[name]
	return t, ok
}
