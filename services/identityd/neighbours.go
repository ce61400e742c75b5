package identityd

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// call asks a neighbour. Codes that say what went wrong with disk, room or time
// reach identityd's caller as they are, with their place; any other is about
// identityd's own request, and its caller learns only that it did not work.
func (s *Service) call(ctx context.Context, to ipc.Slot, op uint16, token *capability.Token, q, p proto.Message) error {
	err := wire.Call(ctx, s.task, ipc.Msg{Slot: to, Op: op, Token: token, Move: ipc.NoSlot}, q, p)
	var code ipc.Code
	if err == nil || !errors.As(err, &code) {
		return err
	}
	switch code {
	case ipc.Damaged, ipc.RolledBack, ipc.IOError, ipc.NoSpace, ipc.Quota, ipc.LimitReached, ipc.TimedOut, ipc.Canceled:
		return err
	}
	return &refused{code}
}

// refused is a neighbour's answer that is not for identityd's caller, whom it
// reaches as Unavailable; identityd itself may look at the code.
type refused struct{ code ipc.Code }

func (r *refused) Error() string { return "identityd: a neighbour answered: " + r.code.Error() }

// Unwrap hides the code.
func (r *refused) Unwrap() error { return ipc.Unavailable }

// saidNo returns whether the neighbour answered with that code.
func saidNo(err error, code ipc.Code) bool {
	var r *refused
	return errors.As(err, &r) && r.code == code
}

// entropy fills each of the buffers from rngd.
func (s *Service) entropy(ctx context.Context, into ...[]byte) error {
	total := 0
	for _, b := range into {
		total += len(b)
	}
	var reply wire.EntropyReply
	defer wire.Wipe(&reply)
	if err := s.call(ctx, s.cfg.RNG, wire.OpEntropy, nil, &wire.EntropyRequest{Count: uint32(total)}, &reply); err != nil {
		return err
	}
	if len(reply.Data) != total {
		return ipc.Unavailable
	}
	rest := reply.Data
	for _, b := range into {
		rest = rest[copy(b, rest):]
	}
	return nil
}

func protector(id uint64, auth *secret.Bytes) *wire.Protector {
	return &wire.Protector{Id: id, Auth: auth.Expose()}
}

func (s *Service) createRoot(ctx context.Context, u userdb.User, p *wire.Protector) error {
	q := &wire.CreateRootRequest{User: u.ID, Incarnation: u.Incarnation[:], Protector: p}
	return s.call(ctx, s.cfg.KeyMint, wire.OpCreateRoot, nil, q, &wire.CreateRootReply{})
}

func (s *Service) addProtector(ctx context.Context, u userdb.User, have, add *wire.Protector) error {
	q := &wire.AddProtectorRequest{User: u.ID, Incarnation: u.Incarnation[:], Have: have, Add: add}
	return olderUsers(s.call(ctx, s.cfg.KeyMint, wire.OpAddProtector, nil, q, &wire.AddProtectorReply{}))
}

// keepProtectors removes the wraps of all protectors that the user lacks. have
// is one that keymintd has a wrap of.
func (s *Service) keepProtectors(ctx context.Context, u userdb.User, have *wire.Protector) error {
	q := &wire.KeepProtectorsRequest{User: u.ID, Incarnation: u.Incarnation[:], Have: have}
	for _, p := range u.Protectors {
		q.Ids = append(q.Ids, p.ID)
	}
	return olderUsers(s.call(ctx, s.cfg.KeyMint, wire.OpKeepProtectors, nil, q, &wire.KeepProtectorsReply{}))
}

// olderUsers answers what it means that keymintd has no wrap for a protector of
// a live user. A wrap is made before users.db names it and removed after users.db
// has stopped doing so: the file is an older copy.
func olderUsers(err error) error {
	if saidNo(err, ipc.NotFound) {
		return &wire.Fault{Code: ipc.RolledBack, File: dbPath}
	}
	return err
}

// removeRoot destroys the user's keys; that there are none is as good.
func (s *Service) removeRoot(ctx context.Context, user string) error {
	err := s.call(ctx, s.cfg.KeyMint, wire.OpRemoveRoot, nil, &wire.RemoveRootRequest{User: user}, &wire.RemoveRootReply{})
	if saidNo(err, ipc.NotFound) {
		return nil
	}
	return err
}

// forgetVault removes the user's vault; that there is none is as good.
func (s *Service) forgetVault(ctx context.Context, user string) error {
	err := s.call(ctx, s.cfg.KeyStore, wire.OpForgetVault, nil, &wire.ForgetVaultRequest{User: user}, &wire.ForgetVaultReply{})
	if saidNo(err, ipc.NotFound) {
		return nil
	}
	return err
}

func (s *Service) sealKeys(ctx context.Context, sid uint64) error {
	return s.call(ctx, s.cfg.KeyMint, wire.OpSealKeys, nil, &wire.SealKeysRequest{Sid: sid}, &wire.SealKeysReply{})
}

// allowed asks policyd. It answers Denied for no, and for what policyd refuses
// to decide.
func (s *Service) allowed(ctx context.Context, subject, action, target string) error {
	q := &wire.DecideRequest{Subject: subject, Action: action, Target: target}
	var reply wire.DecideReply
	err := s.call(ctx, s.cfg.Policy, wire.OpDecide, nil, q, &reply)
	switch {
	case saidNo(err, ipc.Malformed), saidNo(err, ipc.TooLarge), saidNo(err, ipc.Denied):
		return ipc.Denied
	case err != nil:
		return err
	case !reply.Allow:
		return ipc.Denied
	}
	return nil
}
