// Package rngd is the only source of chance in the system: a service that
// answers with random bytes, and the source behind it.
//
// It keeps nothing, calls nobody, and is the only importer of crypto/rand. It
// never answers with fewer bytes than asked for, with bytes that were not
// drawn, or with bytes that somebody else gets as well.
//
// There are two modes, and a binary has one of them, named by Mode: "system",
// where chance comes from the operating system, and, with the build tag
// insecure_deterministic, one for tests in which it comes from a seed. Without
// the tag the seeded source isn't in the binary.
package rngd

import (
	"context"
	"crypto/rand"
	"io"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// MaxEntropy is how many bytes one request may ask for.
const MaxEntropy = 1024

// A Source fills p with random bytes for a caller, or returns an error. caller
// is the kernel-stamped name of who asks.
type Source interface {
	Read(caller string, p []byte) error
}

// System is the operating system's source. It reads all that was asked for or
// returns an error.
func System() io.Reader { return whole{rand.Reader} }

// SystemSource is System as a Source: the caller makes no difference.
func SystemSource() Source { return shared{System()} }

// whole makes every short read an error and leaves nothing of it behind.
type whole struct{ r io.Reader }

func (w whole) Read(p []byte) (int, error) {
	if _, err := io.ReadFull(w.r, p); err != nil {
		clear(p)
		return 0, err
	}
	return len(p), nil
}

type shared struct{ r io.Reader }

func (s shared) Read(_ string, p []byte) error {
	_, err := s.r.Read(p)
	return err
}

// New makes an instance of the service for its task.
func New(t *ipc.Task, source Source) ipc.Service {
	s := &service{task: t, source: source}
	wire.On(&s.mux, wire.OpEntropy, s.entropy)
	return s
}

type service struct {
	task   *ipc.Task
	source Source
	mux    wire.Mux
}

// Start implements ipc.Service. The service is ready only when its source is:
// it draws once and drops what it drew.
func (s *service) Start(context.Context) error {
	var probe [32]byte
	defer clear(probe[:])
	if err := s.source.Read(s.task.Name(), probe[:]); err != nil {
		return err
	}
	s.task.Mark("rngd: ready")
	return nil
}

// Serve implements ipc.Service.
func (s *service) Serve(ctx context.Context, r *ipc.Request) { s.mux.Serve(ctx, r) }

func (s *service) entropy(_ context.Context, r *ipc.Request, q *wire.EntropyRequest) (*wire.EntropyReply, error) {
	if q.Count == 0 {
		return nil, ipc.Malformed
	}
	if q.Count > MaxEntropy {
		return nil, ipc.TooLarge
	}
	p := make([]byte, q.Count)
	if err := s.source.Read(r.Sender.Name, p); err != nil {
		clear(p)
		return nil, ipc.Unavailable
	}
	return &wire.EntropyReply{Data: p}, nil
}
