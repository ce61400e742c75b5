package script

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// kept is the word that stands for the recovery key that a script keeps.
const kept = "kept"

// credential makes a credential of a kind that the grammar knows. Whoever asks
// for it wipes it.
func (r *Strand) credential(user, kind, argument string) boot.Credential {
	word := r.secret(argument)
	switch kind {
	case "pin":
		return boot.PIN(word)
	case "recovery":
		r.mu.Lock()
		defer r.mu.Unlock()
		if key := r.recovery[user]; string(word) == kept && key != nil {
			return boot.Recovery(key.Expose())
		}
		return boot.Recovery(word)
	}
	return boot.Password(word)
}

// withCredential calls fn with the credential of the arguments USER KIND WORD.
func (r *Strand) withCredential(a []string, fn func(ctx context.Context, l *boot.Launcher, c boot.Credential) error) error {
	c := r.credential(a[0], a[1], a[2])
	defer c.Secret.Wipe()
	return r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error { return fn(ctx, l, c) })
}

func createUser(r *Strand, a []string) (string, error) {
	return "", r.withCredential(a, func(ctx context.Context, l *boot.Launcher, c boot.Credential) error {
		return l.CreateUser(ctx, a[0], c)
	})
}

func setCredential(r *Strand, a []string) (string, error) {
	set := r.credential(a[0], a[3], a[4])
	defer set.Secret.Wipe()
	return "", r.withCredential(a, func(ctx context.Context, l *boot.Launcher, have boot.Credential) error {
		return l.SetCredential(ctx, a[0], have, set)
	})
}

func recoveryKey(r *Strand, a []string) (string, error) {
	var key *secret.Bytes
	err := r.withCredential(a, func(ctx context.Context, l *boot.Launcher, have boot.Credential) (err error) {
		key, err = l.CreateRecovery(ctx, a[0], have)
		return err
	})
	if err == nil && len(a) == 4 {
		r.keep(a[0], key)
		return "", nil
	}
	return r.show(key, err)
}

// keep makes a recovery key the user's that the script keeps.
func (r *Runner) keep(user string, key *secret.Bytes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.recovery[user]; old != nil {
		old.Wipe()
	}
	r.recovery[user] = key
}

// kinds are the kinds of credentials that can be removed.
var kinds = map[string]wire.CredentialKind{
	"password": wire.CredentialKind_CREDENTIAL_KIND_PASSWORD,
	"pin":      wire.CredentialKind_CREDENTIAL_KIND_PIN,
	"recovery": wire.CredentialKind_CREDENTIAL_KIND_RECOVERY,
}

func removeCredential(r *Strand, a []string) (string, error) {
	return "", r.withCredential(a, func(ctx context.Context, l *boot.Launcher, have boot.Credential) error {
		return l.RemoveCredential(ctx, a[0], have, kinds[a[3]], len(a) == 5)
	})
}

func rekey(r *Strand, a []string) (string, error) {
	if len(a)%2 == 0 {
		return "", usage("every kind of credential has a word")
	}
	var all []boot.Credential
	for i := 1; i < len(a); i += 2 {
		c := r.credential(a[0], a[i], a[i+1])
		defer c.Secret.Wipe()
		all = append(all, c)
	}
	err := r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error { return l.Rekey(ctx, a[0], all...) })
	if errors.Is(err, ipc.Exists) {
		err = fmt.Errorf("%w: %s has a credential of another kind, and all have to be given", err, a[0])
	}
	return "", err
}

func removeUser(r *Strand, a []string) (string, error) {
	err := r.withCredential(a, func(ctx context.Context, l *boot.Launcher, c boot.Credential) error {
		return l.RemoveUser(ctx, a[0], c)
	})
	if err == nil {
		r.over(a[0])
	}
	return "", err
}

func (r *Strand) userList() ([]string, error) {
	var names []string
	err := r.AsLauncher(func(ctx context.Context, l *boot.Launcher) (err error) {
		names, err = l.ListUsers(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

func users(r *Strand, a []string) (string, error) {
	names, err := r.userList()
	if err != nil {
		return "", err
	}
	return sameNames(names, a)
}

// sameNames prints names, after comparing them with what was wanted, if
// anything was.
func sameNames(names, want []string) (string, error) {
	text := strings.Join(names, " ")
	want = slices.Sorted(slices.Values(want))
	if len(want) > 0 && !slices.Equal(names, want) {
		return "", fmt.Errorf("%w: there are [%s]", ErrMismatch, text)
	}
	if len(names) == 0 {
		return "none", nil
	}
	return text, nil
}

func ifUser(r *Strand, a []string) (string, error) {
	names, err := r.userList()
	if err != nil {
		return "", err
	}
	if !slices.Contains(names, a[0]) {
		return "no such user", nil
	}
	return r.run(a[1:])
}

func login(r *Strand, a []string) (string, error) {
	if r.session(a[0]) != 0 {
		return "", usage("the script has logged in %q already", a[0])
	}
	return "", r.withCredential(a, func(ctx context.Context, l *boot.Launcher, c boot.Credential) error {
		sid, err := l.StartSession(ctx, a[0], c)
		if err == nil {
			r.loggedIn(a[0], sid)
		}
		return err
	})
}

func unseal(r *Strand, a []string) (string, error) {
	sid, err := r.sid(a[0])
	if err != nil {
		return "", err
	}
	err = r.withCredential(a, func(ctx context.Context, l *boot.Launcher, c boot.Credential) error {
		return l.Unseal(ctx, sid, c)
	})
	if err == nil {
		r.exitAppsOf(a[0])
	}
	return "", err
}

// unlock is login and unseal. A session that somebody else has ended, as the
// kernel does when identityd crashes, is replaced by a new one.
func unlock(r *Strand, a []string) (string, error) {
	if r.session(a[0]) != 0 {
		text, err := unseal(r, a)
		if !errors.Is(err, ipc.Denied) {
			return text, err
		}
		r.over(a[0])
	}
	if text, err := login(r, a); err != nil {
		return text, err
	}
	return unseal(r, a)
}

func lock(r *Strand, a []string) (string, error) {
	sid, err := r.sid(a[0])
	if err != nil {
		return "", err
	}
	return "", r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error { return l.Lock(ctx, sid) })
}

func end(r *Strand, a []string) (string, error) {
	sid, err := r.sid(a[0])
	if err != nil {
		return "", err
	}
	err = r.AsLauncher(func(ctx context.Context, l *boot.Launcher) error { return l.End(ctx, sid) })
	if err == nil {
		r.over(a[0])
	}
	return "", err
}

func active(r *Strand, a []string) (string, error) {
	sid, err := r.sid(a[0])
	if err != nil {
		return "", err
	}
	var s boot.Session
	err = r.AsLauncher(func(ctx context.Context, l *boot.Launcher) (err error) {
		s, err = l.Active(ctx, sid)
		return err
	})
	if err != nil {
		return "", err
	}
	state := "none"
	switch {
	case s.Unsealed:
		state = "unsealed"
	case s.Active:
		state = "active"
	}
	if len(a) == 2 && a[1] != state {
		return "", fmt.Errorf("%w: the session is %s", ErrMismatch, state)
	}
	return state, nil
}

func (r *Runner) session(user string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[user]
}

func (r *Runner) loggedIn(user string, sid uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[user] = sid
}
