package keymintd

import (
	"context"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/secret"
)

// blockSize is how much chance is asked for at once, in bytes: as many whole
// pieces as rngd answers in one reply.
const blockSize = 1024 / nonceSize * nonceSize

// entropy hands out rngd's chance. Nonces come from a block that is fetched
// ahead; key material is always fetched by itself, so that no key is ever made
// from what was, or lay beside, a nonce.
type entropy struct {
	task    *ipc.Task
	rng     ipc.Slot
	left    []byte // of the block; what was handed out is zero
	filling bool
	filled  ipc.Cond
}

// forNonce answers a piece that nobody else gets. It parks when the block is
// used up.
func (e *entropy) forNonce(ctx context.Context) (*chance, error) {
	for len(e.left) < nonceSize {
		if err := e.fill(ctx); err != nil {
			return nil, err
		}
	}
	c := chance(e.left)
	clear(e.left[:nonceSize])
	e.left = e.left[nonceSize:]
	return &c, nil
}

// chances are what one change of a file of keys needs at most.
type chances [3]*chance

// several answers pieces that nobody else gets. It parks.
func (e *entropy) several(ctx context.Context) (c chances, err error) {
	for i := range c {
		if c[i], err = e.forNonce(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// fill fetches a block, or waits for another request that does.
func (e *entropy) fill(ctx context.Context) error {
	if e.filling {
		return e.filled.Wait(ctx, e.task)
	}
	e.filling = true
	defer func() {
		e.filling = false
		e.filled.Broadcast()
	}()
	block, err := e.fetch(ctx, blockSize)
	if err != nil {
		return err
	}
	defer block.Wipe()
	e.left = append([]byte(nil), block.Expose()...) // Chance for nonces is no secret.
	return nil
}

// forKey answers KeySize bytes to make a key, a seed, a salt or an id of. It
// parks.
func (e *entropy) forKey(ctx context.Context) (*secret.Bytes, error) {
	return e.fetch(ctx, KeySize)
}

func (e *entropy) fetch(ctx context.Context, n int) (*secret.Bytes, error) {
	var p wire.EntropyReply
	defer wire.Wipe(&p)
	m := ipc.Msg{Slot: e.rng, Op: wire.OpEntropy, Move: ipc.NoSlot}
	if err := wire.Call(ctx, e.task, m, &wire.EntropyRequest{Count: uint32(n)}, &p); err != nil {
		return nil, passing(err)
	}
	if len(p.Data) != n {
		return nil, ipc.Unavailable
	}
	return secret.Copy(p.Data), nil
}
