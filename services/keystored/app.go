package keystored

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// app is what is known of one app in an open vault.
type app struct {
	id    string
	key   vault.KeyID
	keyed bool // there is a data key; otherwise nothing was ever stored
	names vault.Names
	ready bool

	keying bool // a request makes the data key
}

// app answers the index of the request's app. At the app's first request it is
// made, by opening each of the app's live records on behalf of that request;
// others of the same app wait.
func (s *service) app(ctx context.Context, req *ipc.Request, v *userVault) (*app, error) {
	for {
		if v.state != open {
			return nil, ipc.Denied
		}
		a := v.apps[req.Stamp.App]
		switch {
		case a == nil:
			if err := s.index(ctx, req, v); err != nil {
				return nil, err
			}
		case a.ready:
			return a, nil
		default:
			if err := v.changed.Wait(ctx, s.task); err != nil {
				return nil, err
			}
		}
	}
}

// index makes the index of the request's app.
func (s *service) index(ctx context.Context, req *ipc.Request, v *userVault) error {
	a := &app{id: req.Stamp.App}
	v.apps[a.id] = a
	err := s.readNames(ctx, req, v, a)
	if err == nil && v.state != open {
		err = ipc.Denied
	}
	if err != nil {
		a.names.Wipe()
		delete(v.apps, a.id)
	}
	a.ready = err == nil
	v.changed.Broadcast()
	return err
}

func (s *service) readNames(ctx context.Context, req *ipc.Request, v *userVault, a *app) error {
	if err := s.appKey(ctx, req, a, false); err != nil {
		return err
	}
	// If records have lost their key, opening the first one says so.
	for _, sequence := range v.index.Sequences(a.key) {
		live, ok := v.index.Live(sequence)
		if !ok {
			return ipc.Denied // The vault was closed meanwhile.
		}
		if err := s.readName(ctx, req, v, a, live); err != nil {
			return err
		}
	}
	return nil
}

// appKey learns the id of the app's data key, and whether there is one. create
// makes it, which is for an app of which the vault has nothing.
func (s *service) appKey(ctx context.Context, req *ipc.Request, a *app, create bool) error {
	var p wire.AppKeyReply
	if err := s.mint(ctx, req, wire.OpAppKey, ipc.NoSlot, &wire.AppKeyRequest{Create: create}, &p); err != nil {
		return err
	}
	if len(p.KeyId) != len(a.key) || create && !p.Exists {
		return ipc.Unavailable
	}
	a.key, a.keyed = vault.KeyID(p.KeyId), p.Exists
	return nil
}

// readName takes the name of one live record into the app's index. A record
// that does not fit what the vault's own layer says of it is damage.
func (s *service) readName(ctx context.Context, req *ipc.Request, v *userVault, a *app, live vault.Live) error {
	p, err := s.openRecord(ctx, req, v, live)
	if err != nil {
		return err
	}
	defer wire.Wipe(p)
	_, twice := a.names.Find(p.Name)
	if twice || len(p.Name)+len(p.Value) != int(live.Usage) {
		return v.damaged(live.Offset)
	}
	a.names.Set(p.Name, live.Sequence)
	return nil
}

// openRecord has keymintd open a live record on behalf of the request. The
// reply, whose value is in it whatever its length, is the caller's to wipe.
func (s *service) openRecord(ctx context.Context, req *ipc.Request, v *userVault, live vault.Live) (*wire.OpenRecordReply, error) {
	var p wire.OpenRecordReply
	var err error
	q := &wire.OpenRecordRequest{Sequence: live.Sequence, Kind: uint32(live.Kind)}
	if len(live.Sealed) <= vault.MaxRecord {
		q.Record = live.Sealed
		err = s.mint(ctx, req, wire.OpOpenRecord, ipc.NoSlot, q, &p)
	} else {
		q.Size = uint32(len(live.Sealed))
		p.Value, err = s.lend(ctx, live.Sealed, 0, func(object ipc.Slot) (uint32, error) {
			err := s.mint(ctx, req, wire.OpOpenRecord, object, q, &p)
			return p.Size, err
		})
	}
	if unauthentic(err) {
		return nil, v.damaged(live.Offset)
	}
	return &p, err
}

// unauthentic says whether keymintd's answer means that the bytes given to it
// are not what it once sealed. Damage that comes with a place is of a file of
// keymintd's own, and says nothing about those bytes.
func unauthentic(err error) bool {
	var own *wire.Fault
	return errors.Is(err, ipc.Damaged) && !errors.As(err, &own)
}

// mint calls keymintd's vault facet on behalf of the request. A memory object
// may come along, or NoSlot.
func (s *service) mint(ctx context.Context, req *ipc.Request, op uint16, object ipc.Slot, q, p proto.Message) error {
	return wire.Call(ctx, s.task, ipc.Msg{Slot: s.cfg.KeyMint, Op: op, Behalf: req, Move: object}, q, p)
}
