package keystored

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// Config is what boot hands to keystored.
type Config struct {
	KeyMint ipc.Slot // keymintd's vault facet
	StateFS ipc.Slot // statefsd
	// Limits are the quotas, none larger than those of package vault; a zero
	// field means its constant.
	Limits vault.Limits
}

// service is one instance of keystored.
type service struct {
	task   *ipc.Task
	cfg    Config
	store  wire.Mux // the apps' facet
	admin  wire.Mux // identityd's facet
	vaults map[owner]*userVault
	places places
}

// New answers an instance of keystored for the task t.
func New(t *ipc.Task, cfg Config) ipc.Service {
	cfg.Limits = cfg.Limits.WithDefaults()
	s := &service{task: t, cfg: cfg, vaults: make(map[owner]*userVault)}
	wire.OnObject(&s.store, wire.OpPut, s.put)
	wire.OnObject(&s.store, wire.OpGet, s.get)
	wire.On(&s.store, wire.OpDelete, s.delete)
	wire.On(&s.store, wire.OpList, s.list)
	wire.On(&s.admin, wire.OpOpenVault, s.openVault)
	wire.On(&s.admin, wire.OpForgetVault, s.forgetVault)
	wire.On(&s.admin, wire.OpDropApp, s.dropApp)
	wire.On(&s.admin, wire.OpRekeyVault, s.rekeyVault)
	return s
}

// Start has nothing to read: a vault is opened at its user's unseal.
func (s *service) Start(context.Context) error {
	s.task.Mark("keystore: ready")
	return nil
}

// Serve answers one request.
func (s *service) Serve(ctx context.Context, req *ipc.Request) {
	switch req.Facet {
	case wire.FacetStore:
		s.store.Serve(ctx, req)
	case wire.FacetOpen:
		s.admin.Serve(ctx, req)
	case wire.FacetKS1:
		s.ks1(ctx, req)
	default:
		wire.Refuse(req, ipc.Unsupported)
	}
}

// Event hears that an epoch of a session is over. When it was the last one
// that had its user's vault open, the vault is closed before it returns, and
// so before the seal is complete. The kernel delivers the news before any
// request of the session's next epoch.
func (s *service) Event(ctx context.Context, ev ipc.Event) {
	for _, v := range s.vaults {
		if !v.sids[ev.SID] {
			continue
		}
		delete(v.sids, ev.SID)
		if len(v.sids) == 0 {
			s.close(ctx, v)
		}
		return
	}
}
