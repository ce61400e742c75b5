package boot

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
)

// Credential is a password, a PIN or a recovery key.
type Credential struct {
	Kind   wire.CredentialKind
	Secret *secret.Bytes
}

// Password and PIN make credentials that own a copy of the given bytes.
func Password(word []byte) Credential {
	return Credential{wire.CredentialKind_CREDENTIAL_KIND_PASSWORD, secret.Copy(word)}
}

// PIN is 6 to 16 ASCII digits.
func PIN(digits []byte) Credential {
	return Credential{wire.CredentialKind_CREDENTIAL_KIND_PIN, secret.Copy(digits)}
}

// Recovery is a recovery key, as somebody has copied its text.
func Recovery(text []byte) Credential {
	return Credential{wire.CredentialKind_CREDENTIAL_KIND_RECOVERY, secret.Copy(text)}
}

func (c Credential) message() *wire.Credential {
	return &wire.Credential{Kind: c.Kind, Secret: c.Secret.Expose()}
}

// Session says what identityd knows of a session.
type Session struct {
	Active, Unsealed bool
	User             string
}

// Launcher is the session manager: the only task that may log users in and ask
// for tokens. It starts apps and hands each its capabilities and its token.
type Launcher struct {
	system *System
	task   *ipc.Task
	login  ipc.Slot
	query  ipc.Slot

	mu      sync.Mutex
	started map[uint64]bool // sessions that were not ended here
}

// Launcher returns the system's session manager.
func (s *System) Launcher() (*Launcher, error) {
	s.launching.Lock()
	defer s.launching.Unlock()
	if s.launcher != nil {
		return s.launcher, nil
	}
	t, err := s.Kernel.NewTask(ipc.TaskSpec{Name: LauncherName, Parent: s.init.ID()})
	if err != nil {
		return nil, err
	}
	slots, err := s.furnish(t, launcherCalls, nil)
	if err != nil {
		s.drop(t)
		return nil, err
	}
	s.launcher = &Launcher{system: s, task: t, login: slots[launcherCalls[0]], query: slots[launcherCalls[1]], started: make(map[uint64]bool)}
	return s.launcher, nil
}

// Task is the task that the launcher's calls are made by.
func (l *Launcher) Task() *ipc.Task { return l.task }

func (l *Launcher) call(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, l.task, ipc.Msg{Slot: l.login, Op: op, Move: ipc.NoSlot}, q, p)
}

// CreateUser makes a user with a first credential.
func (l *Launcher) CreateUser(ctx context.Context, user string, c Credential) error {
	return l.call(ctx, wire.OpCreateUser, &wire.CreateUserRequest{User: user, Credential: c.message()}, &wire.CreateUserReply{})
}

// ListUsers returns the user ids in byte order.
func (l *Launcher) ListUsers(ctx context.Context) ([]string, error) {
	var p wire.ListUsersReply
	err := l.call(ctx, wire.OpListUsers, &wire.ListUsersRequest{}, &p)
	return p.Users, err
}

// RemoveUser ends the user's sessions and destroys keys and vault.
func (l *Launcher) RemoveUser(ctx context.Context, user string, c Credential) error {
	return l.call(ctx, wire.OpRemoveUser, &wire.RemoveUserRequest{User: user, Credential: c.message()}, &wire.RemoveUserReply{})
}

// SetCredential proves one credential and sets or changes another.
func (l *Launcher) SetCredential(ctx context.Context, user string, have, set Credential) error {
	return l.call(ctx, wire.OpSetCredential,
		&wire.SetCredentialRequest{User: user, Have: have.message(), Set: set.message()}, &wire.SetCredentialReply{})
}

// CreateRecovery proves a credential, makes a recovery key in the place of a
// former one, and returns its text, which cannot be had again. The caller wipes
// it.
func (l *Launcher) CreateRecovery(ctx context.Context, user string, have Credential) (*secret.Bytes, error) {
	var p wire.CreateRecoveryReply
	defer wire.Wipe(&p)
	err := l.call(ctx, wire.OpCreateRecovery, &wire.CreateRecoveryRequest{User: user, Have: have.message()}, &p)
	if err != nil {
		return nil, err
	}
	return secret.Copy(p.Text), nil
}

// RemoveCredential proves a credential and removes one of a kind, which may be
// the same. It fails with ipc.LastOne for the last one, and, unless anyway, for
// the last but a recovery key.
func (l *Launcher) RemoveCredential(ctx context.Context, user string, have Credential, kind wire.CredentialKind, anyway bool) error {
	q := &wire.RemoveCredentialRequest{User: user, Have: have.message(), Kind: kind, Anyway: anyway}
	return l.call(ctx, wire.OpRemoveCredential, q, &wire.RemoveCredentialReply{})
}

// Rekey gives a user another root key, and writes the vault anew below it: what
// somebody has who knew a former password, and files of before, opens nothing that is
// written from then on. It locks the user's sessions. It fails with ipc.Exists if the
// user has a credential of another kind than those given, of which all must be right
// and no two of one kind.
func (l *Launcher) Rekey(ctx context.Context, user string, all ...Credential) error {
	q := &wire.RekeyRequest{User: user}
	for _, c := range all {
		field := map[wire.CredentialKind]*[]byte{
			wire.CredentialKind_CREDENTIAL_KIND_PASSWORD: &q.Password,
			wire.CredentialKind_CREDENTIAL_KIND_PIN:      &q.Pin,
			wire.CredentialKind_CREDENTIAL_KIND_RECOVERY: &q.Recovery,
		}[c.Kind]
		if field == nil || *field != nil {
			return ipc.Malformed
		}
		*field = c.Secret.Expose()
	}
	return l.call(ctx, wire.OpRekey, q, &wire.RekeyReply{})
}

// StartSession logs a user in. The session is active and sealed.
func (l *Launcher) StartSession(ctx context.Context, user string, c Credential) (uint64, error) {
	var p wire.StartSessionReply
	err := l.call(ctx, wire.OpStartSession, &wire.StartSessionRequest{User: user, Credential: c.message()}, &p)
	if err == nil {
		l.mu.Lock()
		l.started[p.Sid] = true
		l.mu.Unlock()
	}
	return p.Sid, err
}

// Unseal opens the session's keys and vault.
func (l *Launcher) Unseal(ctx context.Context, sid uint64, c Credential) error {
	return l.call(ctx, wire.OpUnsealSession, &wire.UnsealSessionRequest{Sid: sid, Credential: c.message()}, &wire.UnsealSessionReply{})
}

// Lock seals the session. When it returns, its keys are wiped and every token
// of it is void.
func (l *Launcher) Lock(ctx context.Context, sid uint64) error {
	return l.call(ctx, wire.OpLockSession, &wire.LockSessionRequest{Sid: sid}, &wire.LockSessionReply{})
}

// End ends the session for good.
func (l *Launcher) End(ctx context.Context, sid uint64) error {
	err := l.call(ctx, wire.OpEndSession, &wire.EndSessionRequest{Sid: sid}, &wire.EndSessionReply{})
	if err == nil {
		l.mu.Lock()
		delete(l.started, sid)
		l.mu.Unlock()
	}
	return err
}

// Uninstall takes an app out of the user's system: its tokens are void, its
// secrets and keys are destroyed, and no copy of its secrets can be read again.
// The session must be unsealed. If it fails, it may be asked again.
func (l *Launcher) Uninstall(ctx context.Context, sid uint64, app string) error {
	return l.call(ctx, wire.OpUninstallApp, &wire.UninstallAppRequest{Sid: sid, App: app}, &wire.UninstallAppReply{})
}

// Active says what identityd knows of a session.
func (l *Launcher) Active(ctx context.Context, sid uint64) (Session, error) {
	var p wire.ActiveSessionReply
	m := ipc.Msg{Slot: l.query, Op: wire.OpActiveSession, Move: ipc.NoSlot}
	err := wire.Call(ctx, l.task, m, &wire.ActiveSessionRequest{Sid: sid}, &p)
	return Session{Active: p.Active, Unsealed: p.Unsealed, User: p.User}, err
}

// AppRights are what the launcher asks for an ordinary app.
const AppRights = capability.AllTokenRights &^ capability.Seal

// App is a running app: a task with two capabilities and a token.
type App struct {
	ID       string
	Task     *ipc.Task
	Keychain *keychain.Client
	// Config is what the app was handed.
	Config keychain.Config
	slots  map[Edge]ipc.Slot
	system *System
}

// Slot is the app's capability to call a facet, if it was handed one.
func (a *App) Slot(e Edge) (ipc.Slot, bool) {
	slot, ok := a.slots[e]
	return slot, ok
}

// Reaches is Slot for SERVICE.FACET, by name.
func (a *App) Reaches(name string) (ipc.Slot, bool) {
	if e, ok := resolve(a.system.rows, name); ok {
		return a.Slot(e)
	}
	return ipc.NoSlot, false
}

// Exit ends the app's task; its token dies with it.
func (a *App) Exit() { a.system.drop(a.Task) }

// Launch starts an app in a session and hands it a token with the given rights,
// if policy allows all of them.
func (l *Launcher) Launch(ctx context.Context, sid uint64, app string, rights capability.TokenRights) (*App, error) {
	s := l.system
	t, err := s.Kernel.NewTask(ipc.TaskSpec{Name: "app", Parent: s.init.ID()})
	if err != nil {
		return nil, err
	}
	slots, err := s.furnish(t, s.cfg.appCalls(), appRoutes)
	if err == nil {
		cfg := keychain.Config{Store: slots[appCalls[0]], Keys: slots[appCalls[1]]}
		if cfg.Token, err = l.token(ctx, sid, app, t, rights); err == nil {
			return &App{ID: app, Task: t, Keychain: keychain.New(t, cfg), Config: cfg, slots: slots, system: s}, nil
		}
	}
	s.drop(t)
	return nil, err
}

func (l *Launcher) token(ctx context.Context, sid uint64, app string, holder *ipc.Task, rights capability.TokenRights) (capability.Token, error) {
	var p wire.IssueTokenReply
	err := l.call(ctx, wire.OpIssueToken,
		&wire.IssueTokenRequest{Sid: sid, App: app, Holder: uint64(holder.ID()), Rights: uint32(rights)}, &p)
	if err != nil {
		return capability.Token{}, err
	}
	if len(p.Token) != capability.TokenSize {
		return capability.Token{}, ipc.Malformed
	}
	return capability.Token(p.Token), nil
}

// endAll ends every session that was started here, in the order of their sids.
func (l *Launcher) endAll(ctx context.Context) {
	l.mu.Lock()
	sids := slices.Sorted(maps.Keys(l.started))
	l.mu.Unlock()
	for _, sid := range sids {
		// What cannot be ended is voided by the kernel when identityd exits.
		_ = l.End(ctx, sid)
	}
}
