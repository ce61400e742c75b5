package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/disk"
)

const (
	user     = "alice"
	other    = "bob" // comes and goes
	password = "the password of alice"
	folder   = "state/identity/alice/"
)

// kvOf is where the vault is that holds: root.keys says in which epoch
// (docs/spec/keymint.md).
func kvOf(d disk.Disk) string {
	if root := content(d, folder+"root.keys"); len(root) > 34 {
		if epoch := binary.LittleEndian.Uint32(root[30:]); epoch > 0 {
			return fmt.Sprintf("%sepoch-%d/vault.kv", folder, epoch)
		}
	}
	return folder + "vault.kv"
}

// isKV says whether the path is that of the user's vault, of whatever epoch.
func isKV(path string) bool {
	return strings.HasPrefix(path, folder) && strings.HasSuffix(path, "/vault.kv")
}

// appIDs are the apps that the script is about.
var appIDs = []string{"calendar", "mail"}

// cheap keeps Argon2id out of the way.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// state is what can be seen of the user: "@user" if there is one, "app/name" and
// the value for each secret, "app#name" for each signing key.
type state map[string]string

// world is the whole system on a disk, with the one user's session in it.
type world struct {
	system   *boot.System
	launcher *boot.Launcher
	apps     map[string]*boot.App
	sid      uint64
	cut      chan struct{}

	mu      sync.Mutex
	console bytes.Buffer
	panics  int
	sealed  chan struct{} // hears of each record that keymintd has sealed, if it is not nil
}

// start boots the system.
func start(d disk.Disk) (*world, error) {
	w := &world{apps: make(map[string]*boot.App), cut: make(chan struct{})}
	var err error
	w.system, err = boot.Boot(boot.Config{Disk: d, Console: w, Argon: cheap, Cut: w.cut, Tap: w.tap, Crash: w.crashed})
	if err != nil {
		return nil, err
	}
	w.launcher, err = w.system.Launcher()
	return w, err
}

// Write is the console.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.console.Write(p)
}

func (w *world) printed(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.console.Bytes(), []byte(text))
}

func (w *world) crashed(*ipc.PanicReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panics++
}

// sound says whether no service has panicked.
func (w *world) sound() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics > 0 {
		return fmt.Errorf("%d services panicked", w.panics)
	}
	return nil
}

func (w *world) tap(e ipc.TraceEvent) {
	if e.Kind != ipc.TraceReply || e.Op != wire.OpSealRecord {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed != nil {
		w.sealed <- struct{}{}
	}
}

// onSealed answers where each of the next records that keymintd seals is heard
// of, up to so many. 0 ends it.
func (w *world) onSealed(records int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = nil
	if records > 0 {
		w.sealed = make(chan struct{}, records)
	}
	return w.sealed
}

// off ends the system as a power cut does. Its disk must have been taken away.
func (w *world) off() {
	close(w.cut)
	w.system.Shutdown()
}

func (w *world) login(ctx context.Context) (err error) {
	word := boot.Password([]byte(password))
	defer word.Secret.Wipe()
	w.sid, err = w.launcher.StartSession(ctx, user, word)
	return err
}

// unseal opens the user's vault and launches the apps.
func (w *world) unseal(ctx context.Context) error {
	word := boot.Password([]byte(password))
	defer word.Secret.Wipe()
	if err := w.launcher.Unseal(ctx, w.sid, word); err != nil {
		return err
	}
	for _, id := range appIDs {
		if a := w.apps[id]; a != nil {
			a.Exit()
		}
		a, err := w.launcher.Launch(ctx, w.sid, id, boot.AppRights)
		if err != nil {
			return err
		}
		w.apps[id] = a
	}
	return nil
}

// others makes sure that the other user, if there is one, has keys and a vault.
func (w *world) others(ctx context.Context, seen state) error {
	if seen["@other"] == "" {
		return nil
	}
	word := boot.Password([]byte(password))
	defer word.Secret.Wipe()
	sid, err := w.launcher.StartSession(ctx, other, word)
	if err == nil {
		err = errors.Join(w.launcher.Unseal(ctx, sid, word), w.launcher.End(ctx, sid))
	}
	return err
}

func (w *world) createUser(ctx context.Context) error {
	word := boot.Password([]byte(password))
	defer word.Secret.Wipe()
	return w.launcher.CreateUser(ctx, user, word)
}

func (w *world) put(ctx context.Context, app, name, value string) error {
	v := secret.Copy([]byte(value))
	defer v.Wipe()
	return w.apps[app].Keychain.Put(ctx, name, v)
}

// recover is what somebody does who finds the system off: login and unseal, and
// look. A user that was never made has nothing.
func (w *world) recover(ctx context.Context) (state, error) {
	if err := w.login(ctx); err != nil {
		users, listErr := w.launcher.ListUsers(ctx)
		if errors.Is(err, ipc.BadSecret) && listErr == nil && len(users) == 0 {
			return state{}, nil
		}
		return nil, fmt.Errorf("login: %w", err)
	}
	if err := w.unseal(ctx); err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	return w.look(ctx)
}

// look reads everything that the apps have.
func (w *world) look(ctx context.Context) (state, error) {
	seen := state{"@user": user}
	users, err := w.launcher.ListUsers(ctx)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	if slices.Contains(users, other) {
		seen["@other"] = other
	}
	for _, id := range appIDs {
		k := w.apps[id].Keychain
		names, err := k.List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		for _, name := range names {
			v, err := k.Get(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("get %s/%s: %w", id, name, err)
			}
			seen[id+"/"+name] = string(v.Expose())
			v.Wipe()
		}
		if names, err = k.Keys(ctx); err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		for _, name := range names {
			seen[id+"#"+name] = ""
		}
	}
	return seen, nil
}

// works shows that the system goes on: what is put is there.
func (w *world) works(ctx context.Context, seen state) error {
	if seen["@user"] == "" {
		if err := errors.Join(w.createUser(ctx), w.login(ctx), w.unseal(ctx)); err != nil {
			return fmt.Errorf("a new user: %w", err)
		}
	}
	if err := w.put(ctx, "mail", "afterwards", "works"); err != nil {
		return fmt.Errorf("a put afterwards: %w", err)
	}
	now, err := w.look(ctx)
	if err != nil {
		return err
	}
	want := maps.Clone(seen)
	want["@user"], want["mail/afterwards"] = user, "works"
	if !maps.Equal(now, want) {
		return errors.New("after a put there is " + difference(now, want))
	}
	return w.sound()
}

// difference says in words what is other in got than in want.
func difference(got, want state) string {
	text := ""
	for key, value := range want {
		if have, there := got[key]; !there {
			text += " no " + key
		} else if have != value {
			text += fmt.Sprintf(" another %s (%.20q, %d bytes)", key, have, len(have))
		}
	}
	for key := range got {
		if _, there := want[key]; !there {
			text += " a " + key
		}
	}
	return text
}
