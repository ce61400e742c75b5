package keymintd

import (
	"context"
	"errors"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// Config is what boot gives keymintd.
type Config struct {
	RNG     ipc.Slot // rngd's endpoint
	StateFS ipc.Slot // statefsd's endpoint
	Limits  Limits
}

// Service answers on three facets: wire.FacetAdmin, which is identityd's,
// wire.FacetVault, which is keystored's, and wire.FacetKeys, which is the apps'.
type Service struct {
	task    *ipc.Task
	limits  Limits
	facets  [3]wire.Mux
	entropy entropy
	files   files
	salt    []byte // KeySize bytes; no secret, but the disk's

	sessions map[uint64]*session
	accounts map[owner]*account
	locks    locks
}

var (
	_ ipc.EventHandler = (*Service)(nil)
	_ ipc.Forgetter    = (*Service)(nil)
)

// New makes an instance without any keys; boot hosts it on t.
func New(t *ipc.Task, cfg Config) ipc.Service {
	s := &Service{
		task:     t,
		limits:   cfg.Limits.withDefaults(),
		entropy:  entropy{task: t, rng: cfg.RNG},
		files:    files{task: t, slot: cfg.StateFS, durable: make(map[string]bool)},
		sessions: make(map[uint64]*session),
		accounts: make(map[owner]*account),
		locks:    locks{task: t, held: make(map[string]bool), waiting: make(map[string]int)},
	}
	s.admin(&s.facets[wire.FacetAdmin])
	s.vault(&s.facets[wire.FacetVault])
	s.keys(&s.facets[wire.FacetKeys])
	return s
}

// Start reads the device's salt, or makes it at the device's first boot, and
// says that the service is ready.
func (s *Service) Start(ctx context.Context) error {
	salt, err := s.readSalt(ctx)
	if errors.Is(err, ipc.NotFound) {
		salt, err = s.firstSalt(ctx)
	}
	if err != nil {
		return faultIn(saltPath, err)
	}
	s.salt = salt
	s.task.Mark("keymintd: ready")
	return nil
}

func (s *Service) readSalt(ctx context.Context) ([]byte, error) {
	file, err := s.files.settled(ctx, saltPath, saltSize)
	if err != nil {
		return nil, err
	}
	salt, err := decodeSalt(file)
	if err != nil {
		return nil, err
	}
	return salt[:], nil
}

// firstSalt makes the salt if nothing at all exists. An absent salt beside
// anything else is damage: with another salt no key would ever open again.
func (s *Service) firstSalt(ctx context.Context) ([]byte, error) {
	paths, more, err := s.files.list(ctx, statePrefix, "")
	if err != nil {
		return nil, err
	}
	if len(paths) > 0 || more {
		return nil, damageAt(0)
	}
	chance, err := s.entropy.forKey(ctx)
	if err != nil {
		return nil, err
	}
	defer chance.Wipe()
	salt := [KeySize]byte(chance.Expose())
	if err := s.files.replace(ctx, saltPath, encodeSalt(&salt)); err != nil {
		return nil, err
	}
	return salt[:], nil
}

// Serve answers one request. A facet that boot did not make, and an operation
// of another facet, are Unsupported.
func (s *Service) Serve(ctx context.Context, r *ipc.Request) {
	if int(r.Facet) >= len(s.facets) {
		wire.Refuse(r, ipc.Unsupported)
		return
	}
	s.facets[r.Facet].Serve(ctx, r)
}

// Event seals what the kernel says is over. An unseal of that epoch that is
// still parked finds its caller gone.
func (s *Service) Event(_ context.Context, ev ipc.Event) {
	if sess := s.sessions[ev.SID]; sess != nil && sess.epoch <= ev.Epoch {
		s.seal(sess)
	}
}
