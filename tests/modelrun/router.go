package modelrun

import (
	"nexus.internal/os/cmd/crash"
	"nexus.internal/os/tests/model"
)

// maxSteps bounds how long one input keeps a router busy.
const maxSteps = 100

// Router is the live router as something to be fuzzed: bytes become system calls
// of several tasks, some of them at the same time, and the model is the oracle.
type Router struct{}

var _ crash.Target = Router{}

// Name is what the target is called.
func (Router) Name() string { return "router" }

// Run does what the bytes say on a kernel of its own. The first eight are the
// seed of its order. Every input is an input; the error is ErrDisagree, with the
// steps that led there, and never anything that the calls themselves answered.
func (Router) Run(input []byte) error {
	in := tape{bytes: input[:min(len(input), crash.MaxInput)]}
	seed := uint64(0)
	for range 8 {
		seed = seed<<8 | uint64(in.draw(256))
	}
	w := New(seed)
	if err := w.Town(in.draw); err != nil {
		return err
	}
	for n := 0; n < maxSteps && len(in.bytes) > 0; n++ {
		if err := w.Do(w.Ops(in.draw)...); err != nil {
			return err
		}
	}
	return w.Close()
}

// Ops draws what happens in one step: mostly one operation, sometimes several.
func (w *World) Ops(draw Draw) []model.Op {
	n := 1
	if draw(4) == 0 {
		n += draw(4)
	}
	ops := make([]model.Op, n)
	for i := range ops {
		ops[i] = w.Op(AnyKind(draw), draw)
	}
	return ops
}

// tape is a draw that reads its choices from bytes; after the last it is all zero.
type tape struct{ bytes []byte }

func (t *tape) draw(n int) int {
	got := 0
	for size := 1; size < n; size <<= 8 {
		b := 0
		if len(t.bytes) > 0 {
			b, t.bytes = int(t.bytes[0]), t.bytes[1:]
		}
		got = got<<8 | b
	}
	return got % max(1, n)
}
