package identityd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
)

// Limits. Those of the file and of Argon2id's parameters are userdb's.
const (
	MaxUsers           = userdb.MaxUsers // those being created or removed included
	MaxSessions        = 16              // active sessions
	MaxSessionsPerUser = 4               // active sessions of one user
	MaxSessionTokens   = 256             // tokens issued for one session between two locks
	MaxArgonRuns       = 2               // runs of Argon2id at once
	MaxProving         = 64              // requests with a credential being served at once

	// LoginParallel is how many requests the login endpoint must be able to
	// serve at once, so that those that prove credentials leave room for lock.
	LoginParallel = 2 * MaxProving
)

// Params are Argon2id's parameters.
type Params = userdb.Cost

// Floor is the least that a shipped system's parameters may be.
func Floor() Params { return userdb.DefaultCost() }

// Config is what boot gives identityd.
type Config struct {
	RNG       ipc.Slot // rngd
	StateFS   ipc.Slot // statefsd
	Policy    ipc.Slot // policyd; identityd must be an enforcement point
	KeyMint   ipc.Slot // keymintd's admin facet
	KeyStore  ipc.Slot // keystored's open facet
	Authority ipc.Slot // the kernel's session authority

	// Argon holds the parameters for credentials set from now on; the zero
	// value means Floor.
	Argon Params
}

// Service is identityd.
type Service struct {
	task  *ipc.Task
	cfg   Config
	login wire.Mux
	query wire.Mux

	db      userdb.DB       // what is durable
	unsure  bool            // a write failed: the file may be another one than db
	stale   map[string]bool // live users that may have wraps of no protector
	writing *gate           // held to change db

	guessing throttle
	argon    *gate
	runs     uint64 // of Argon2id, so far
	proving  int    // requests with a credential being served

	sessions map[uint64]*session
	leaving  map[place]bool  // apps that are being uninstalled
	rekeying map[string]bool // users that are getting another root key
	turns    ipc.Cond        // a session's unseal or lock is over
}

// New makes the service; boot hosts it on t.
func New(t *ipc.Task, cfg Config) *Service {
	if cfg.Argon == (Params{}) {
		cfg.Argon = Floor()
	}
	s := &Service{
		task: t, cfg: cfg,
		stale:    make(map[string]bool),
		writing:  newGate(1),
		guessing: newThrottle(),
		argon:    newGate(MaxArgonRuns),
		sessions: make(map[uint64]*session),
		leaving:  make(map[place]bool),
		rekeying: make(map[string]bool),
	}
	wire.On(&s.login, wire.OpCreateUser, s.createUser)
	wire.On(&s.login, wire.OpListUsers, s.listUsers)
	wire.On(&s.login, wire.OpRemoveUser, s.removeUser)
	wire.On(&s.login, wire.OpSetCredential, s.setCredential)
	wire.On(&s.login, wire.OpCreateRecovery, s.createRecovery)
	wire.On(&s.login, wire.OpRemoveCredential, s.removeCredential)
	wire.On(&s.login, wire.OpRekey, s.rekey)
	wire.On(&s.login, wire.OpStartSession, s.startSession)
	wire.On(&s.login, wire.OpUnsealSession, s.unsealSession)
	wire.On(&s.login, wire.OpLockSession, s.lockSession)
	wire.On(&s.login, wire.OpEndSession, s.endSession)
	wire.On(&s.login, wire.OpActiveSession, s.activeSession)
	wire.On(&s.login, wire.OpIssueToken, s.issueToken)
	wire.On(&s.login, wire.OpUninstallApp, s.uninstallApp)
	wire.On(&s.query, wire.OpActiveSession, s.activeSession)
	return s
}

// Start reads the database and the failed guesses, and finishes, as far as
// keymintd can, what a crash left half removed. It fails if a file is damaged or
// cannot be read.
func (s *Service) Start(ctx context.Context) error {
	if err := s.cfg.Argon.Validate(); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if err := s.loadGuesses(ctx); err != nil {
		return err
	}
	s.finish(ctx)
	s.task.Mark("identityd: ready")
	return nil
}

// finish goes on with what a crash has left half done. What fails here is tried
// again by prune and sweep: the database names it still.
func (s *Service) finish(ctx context.Context) {
	for _, u := range s.db.Users() {
		if u.State == userdb.Live {
			s.stale[u.ID] = true
			continue
		}
		// A process that was killed while it wrote that may have left a database
		// which a power cut takes back, and the user with it.
		s.unsure = true
	}
	if s.settle(ctx) != nil {
		return
	}
	for _, u := range s.db.Users() {
		if u.State != userdb.Live {
			_ = s.removeRoot(ctx, u.ID)
		}
	}
}

// Serve answers one request.
func (s *Service) Serve(ctx context.Context, r *ipc.Request) {
	if r.Facet == wire.FacetQuery {
		s.query.Serve(ctx, r)
		return
	}
	s.login.Serve(ctx, r)
}

// admit counts a request that proves or sets a credential. The caller calls
// done when it is over.
func (s *Service) admit() (done func(), err error) {
	if s.proving >= MaxProving {
		return nil, ipc.LimitReached
	}
	s.proving++
	return func() { s.proving-- }, nil
}
