package capability_test

import (
	"testing"

	"nexus.internal/os/capability"
)

// crowd counts the capabilities to it that carry Send.
type crowd struct{ made, died int }

func (c *crowd) Made(k capability.Cap) { c.made += int(k.Rights & capability.Send) }
func (c *crowd) Died(k capability.Cap) { c.died += int(k.Rights & capability.Send) }

// TestCounter: an object hears of each capability once, when it is made, and
// once when it dies, and not when it moves.
func TestCounter(t *testing.T) {
	c := new(crowd)
	var a, b capability.Table
	want := func(what string, made, died int) {
		t.Helper()
		if c.made != made || c.died != died {
			t.Errorf("%s: %d made and %d dead, not %d and %d", what, c.made, c.died, made, died)
		}
	}
	root, _ := a.Insert(capability.Cap{Object: c, Kind: capability.KindEndpoint, Rights: capability.AllRights})
	want("insert", 1, 0)
	_ = a.InsertAt(3, capability.Cap{Object: c, Kind: capability.KindEndpoint, Rights: capability.Send})
	want("insert at", 2, 0)
	child, _ := a.Derive(root, capability.Send, &b)
	want("derive", 3, 0)
	_, _ = a.Derive(root, capability.Recv, &b)
	want("derive without Send", 3, 0)
	back, _ := b.Move(child, &a)
	want("move", 3, 0)
	p := a.Send(back)
	want("in flight", 3, 0)
	a.Return(p)
	want("returned", 3, 0)
	p = a.Send(back)
	p.Drop()
	p.Drop()
	want("dropped in flight", 3, 1)
	clone, _ := a.Clone(root)
	grandchild, _ := a.Clone(clone)
	p = a.Send(grandchild)
	want("clones", 5, 1)
	_, _ = a.Revoke(root)
	want("revoked, one of them in flight", 5, 3)
	p.Drop()
	want("dropped after it was revoked", 5, 3)
	_ = a.Close(3)
	want("closed", 5, 4)
	a.Clear()
	b.Clear()
	want("cleared", 5, 5)
}
