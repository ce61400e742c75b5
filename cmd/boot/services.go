package boot

import (
	"context"
	"time"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored"
	"nexus.internal/os/services/policyd"
	"nexus.internal/os/services/rngd"
	"nexus.internal/os/services/statefsd"
)

// stateRoot is the directory of the disk below which state: paths live.
const stateRoot = "state"

// factoryOf returns what makes a service's instances from the slots that its
// row of the table gave it.
func (s *System) factoryOf(t *ipc.Task, slots map[Edge]ipc.Slot, rules *policyd.Rules) (func() ipc.Service, error) {
	slot := func(service string, facet uint8) ipc.Slot { return slots[Edge{service, facet}] }
	switch t.Name() {
	case RNGD:
		source := s.cfg.Chance(s.Boot)
		return func() ipc.Service { return rngd.New(t, source) }, nil
	case StateFSD:
		return func() ipc.Service {
			return statefsd.New(t, statefsd.Config{Disk: s.cfg.Disk, Root: stateRoot, Grants: s.cfg.grants()})
		}, nil
	case PolicyD:
		return func() ipc.Service {
			return policyd.New(t, policyd.Config{
				Rules: rules, EnforcementPoints: []string{IdentityD, initName}, Services: reserved(s.rows),
				DigestKey: s.nonce, Boot: uint32(s.Boot), Log: s.Audit, Audit: s.cfg.Audit,
			})
		}, nil
	case KeyMintD:
		cfg := keymintd.Config{RNG: slot(RNGD, wire.FacetMain), StateFS: slot(StateFSD, wire.FacetMain)}
		return func() ipc.Service { return keymintd.New(t, cfg) }, nil
	case KeyStoreD:
		cfg := keystored.Config{StateFS: slot(StateFSD, wire.FacetMain), KeyMint: slot(KeyMintD, wire.FacetVault), Limits: s.cfg.Quotas}
		return func() ipc.Service { return keystored.New(t, cfg) }, nil
	case IdentityD:
		authority, err := s.Kernel.GrantAuthority(t)
		cfg := identityd.Config{
			RNG: slot(RNGD, wire.FacetMain), StateFS: slot(StateFSD, wire.FacetMain),
			Policy: slot(PolicyD, wire.FacetMain), KeyMint: slot(KeyMintD, wire.FacetAdmin),
			KeyStore: slot(KeyStoreD, wire.FacetOpen), Authority: authority, Argon: s.cfg.Argon,
		}
		return func() ipc.Service { return identityd.New(t, cfg) }, err
	}
	if f := s.cfg.daemon(t, slots); f != nil {
		return f, nil
	}
	return nil, ipc.NoSuchEndpoint
}

// reserved lists the names that no app may have.
func reserved(rows []row) []string {
	names := []string{initName, LauncherName, InspectorName}
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// drainTimeout bounds how long Shutdown waits for sessions to end.
const drainTimeout = 10 * time.Second

// endSessions lets the launcher end what is still active, so that vaults write
// their heads and keys are wiped by those who hold them.
func (s *System) endSessions() {
	launcher, err := s.Launcher()
	if err != nil {
		return
	}
	s.Run(launcher.task, func(ctx context.Context) {
		limited, cancel := launcher.task.WithTimeout(ctx, drainTimeout)
		defer cancel()
		launcher.endAll(limited)
	})
}
