package keystored

import (
	"context"
	"errors"
	"strconv"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/vault"
)

// load brings a vault into memory, on behalf of the request. When it fails
// because of what is on the disk, nothing on the disk was changed.
func (s *service) load(ctx context.Context, req *ipc.Request, v *userVault, create bool) error {
	epoch, err := s.vaultEpoch(ctx, req)
	if err != nil {
		return err
	}
	v.of(epoch)
	if err := s.read(ctx, req, v, create); err != nil {
		return err
	}
	s.sweep(ctx, v)
	return nil
}

// read is load for a vault of which it is known where it is.
func (s *service) read(ctx context.Context, req *ipc.Request, v *userVault, create bool) error {
	headFile, haveHead, err := s.readFile(ctx, v.headPath, vault.HeadSize)
	if err != nil {
		return err
	}
	data, haveVault, err := s.readFile(ctx, v.path, vault.MaxVault)
	switch {
	case err != nil:
		return err
	case !haveVault && !haveHead && create:
		return s.create(ctx, req, v)
	case !haveVault:
		return v.damaged(0)
	case !haveHead && !create:
		return v.headDamaged()
	}
	var head *vault.Point
	if haveHead {
		if head, err = s.openHead(ctx, req, v, headFile); err != nil {
			return err
		}
	}
	result, err := s.replay(ctx, req, v, data, head)
	if err != nil {
		return err
	}
	return s.adopt(ctx, req, v, data, result, haveHead)
}

// headDamaged says that the head cannot be what was written.
func (v *userVault) headDamaged() error {
	return &wire.Fault{Code: ipc.Damaged, File: v.headPath}
}

// create makes a new vault. identityd says so only while no vault of the user
// can be anywhere.
func (s *service) create(ctx context.Context, req *ipc.Request, v *userVault) error {
	id, err := s.vaultID(ctx, req)
	if err != nil {
		return err
	}
	b := vault.NewFile(vault.NewVault(id))
	if _, err := s.seal(ctx, req, present, b, v.index.Snapshot(id)); err != nil {
		return err
	}
	head, err := s.sealHead(ctx, req, present, b.End())
	if err != nil {
		return err
	}
	if err := s.replaceFile(ctx, v.path, b.Segments()[0]); err != nil {
		return err
	}
	v.end, v.head, v.next, v.stale = b.End(), head, 1, true
	return s.writeHead(ctx, v)
}

// openHead reads the head file.
func (s *service) openHead(ctx context.Context, req *ipc.Request, v *userVault, file []byte) (*vault.Point, error) {
	header, sealed, err := vault.SplitHead(file)
	if err != nil {
		return nil, v.headError(err)
	}
	body, err := s.openSegment(ctx, req, header, sealed)
	if err != nil {
		return nil, v.headError(err)
	}
	p, err := vault.DecodeHead(header, body)
	if err != nil {
		return nil, v.headError(err)
	}
	return &p, nil
}

// headError tells what a head says about the disk from what keymintd says
// about the session.
func (v *userVault) headError(err error) error {
	switch {
	case errors.Is(err, vault.ErrVersion):
		return ipc.Unsupported
	case errors.Is(err, vault.ErrHeader), errors.Is(err, vault.ErrHead), unauthentic(err):
		return v.headDamaged()
	}
	return err
}

// replay reads the vault file. Only what keymintd calls unauthentic is
// judged; any other failure of a call says nothing about the bytes.
func (s *service) replay(ctx context.Context, req *ipc.Request, v *userVault, data []byte, head *vault.Point) (vault.Result, error) {
	r := vault.NewReplay(data, head)
	for {
		segment, more := r.Next()
		if !more {
			break
		}
		body, err := s.openSegment(ctx, req, segment.Header, segment.Sealed)
		switch {
		case err == nil:
			r.Opened(body)
		case unauthentic(err):
			r.Unauthentic()
		default:
			return vault.Result{}, err
		}
	}
	result, err := r.Result()
	var d *vault.Damage
	switch {
	case errors.As(err, &d) && head == nil:
		return result, v.headDamaged() // More than a new vault, and no head.
	case errors.As(err, &d) && d.Older:
		return result, &wire.Fault{Code: ipc.RolledBack, File: v.path, Offset: d.Offset}
	case errors.As(err, &d):
		return result, v.damaged(d.Offset)
	case err != nil:
		return result, code(err)
	}
	return result, nil
}

// adopt makes a vault that was read the vault in memory: a torn tail is kept
// aside and cut off, and what was read is made durable before it is visible.
func (s *service) adopt(ctx context.Context, req *ipc.Request, v *userVault, data []byte, r vault.Result, haveHead bool) error {
	head, err := s.sealHead(ctx, req, present, r.End)
	if err != nil {
		return err
	}
	if r.Torn {
		if err := s.keepTail(ctx, v, data, r.End.Length); err != nil {
			return err
		}
	}
	v.index, v.end, v.next = r.Index, r.End, r.Index.Last()+1
	v.head, v.beyond, v.stale = head, r.Since, !haveHead || r.Since > 0
	if err := s.secure(ctx, v, r.Torn); err != nil {
		// A write failed earlier in this boot, and the file takes no more.
		return s.compact(ctx, req, v)
	}
	if !haveHead {
		return s.writeHead(ctx, v)
	}
	return nil
}

// secure makes the file on the disk what was read of it, durably.
func (s *service) secure(ctx context.Context, v *userVault, torn bool) error {
	if torn {
		return s.truncateFile(ctx, v.path, v.end.Length)
	}
	return s.syncFile(ctx, v.path, v.end.Length)
}

// keepTail copies what follows offset to a side file, durably, and says so: what
// is dropped may have been acknowledged, if somebody has changed it since. A side
// file of the same offset was left by a crash in between, or held bytes that were
// never acknowledged.
func (s *service) keepTail(ctx context.Context, v *userVault, data []byte, offset uint64) error {
	side := v.path + ".tail-" + strconv.FormatUint(offset, 10)
	if err := s.removeFile(ctx, side); err != nil {
		return err
	}
	var pieces [][]byte
	for tail := data[offset:]; len(tail) > 0; {
		n := min(len(tail), ReadBytes)
		pieces = append(pieces, tail[:n])
		tail = tail[n:]
	}
	if err := s.appendFile(ctx, side, 0, pieces); err != nil {
		return err
	}
	size := strconv.FormatUint(uint64(len(data))-offset, 10)
	s.task.Mark("keystore: tail dropped", ipc.F("user", v.user), ipc.F("bytes", size), ipc.F("kept", side))
	return nil
}
