package crash

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"nexus.internal/os/services/statefsd/simdisk"
)

// watched is a disk that says what is about to be changed, and stands still or
// loses its power when it is told to.
type watched struct {
	*simdisk.Disk
	before func(op simdisk.Op, data []byte) // each call that changes something, and what it writes
	mu     sync.Mutex
	gate   chan struct{} // the next sync of the vault waits for it
	off    bool          // the next sync of the vault finds the power gone
}

func (d *watched) say(kind simdisk.Kind, path, to string, data []byte) {
	if d.before != nil {
		d.before(simdisk.Op{Kind: kind, Path: path, To: to}, data)
	}
}

func (d *watched) Append(path string, off int64, p []byte) error {
	d.say(simdisk.Append, path, "", p)
	return d.Disk.Append(path, off, p)
}

func (d *watched) Truncate(path string, size int64) error {
	d.say(simdisk.Truncate, path, "", nil)
	return d.Disk.Truncate(path, size)
}

func (d *watched) Sync(path string) error {
	d.say(simdisk.Sync, path, "", nil)
	d.mu.Lock()
	gate, off := d.gate, d.off
	if isKV(path) {
		d.gate = nil
	}
	d.mu.Unlock()
	if isKV(path) && gate != nil {
		<-gate
	}
	if isKV(path) && off {
		d.TakeAway()
	}
	return d.Disk.Sync(path)
}

func (d *watched) Replace(path string, p []byte) error {
	d.say(simdisk.Replace, path, "", p)
	return d.Disk.Replace(path, p)
}

func (d *watched) Rename(from, to string) error {
	d.say(simdisk.Rename, from, to, nil)
	return d.Disk.Rename(from, to)
}

func (d *watched) Remove(path string) error {
	d.say(simdisk.Remove, path, "", nil)
	return d.Disk.Remove(path)
}

// hold makes the next sync of the vault wait till the gate is closed.
func (d *watched) hold() (gate chan struct{}) {
	gate = make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = gate
	return gate
}

func (d *watched) powerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// cut is a moment before a call of the disk. At least low of the era's ops must
// be there afterwards, at most high.
type cut struct {
	disk      *simdisk.Disk
	call      simdisk.Op
	data      []byte // that the call writes
	era       int
	low, high int
}

func (c *cut) String() string {
	return fmt.Sprintf("boot %d, %d to %d ops, before %s %s", c.era+1, c.low, c.high, c.call.Kind, c.call.Path)
}

// recording is the script, played once.
type recording struct {
	eras   []era
	states [][]state         // of each era, the n-th after n of its ops
	disks  [][]*simdisk.Disk // of each era, before each op that did not begin in a burst
	cuts   []cut

	mu        sync.Mutex
	disk      *watched
	world     *world
	era       int
	low, high int
	sure      bool // whether what a killed process has left was synced
}

// record plays the script. Every run has the same calls of the disk, in the same
// order, with other random bytes in them.
func record(t *testing.T) *recording {
	t.Helper()
	r := &recording{eras: script()}
	now, d := state{}, simdisk.New()
	for r.era = range r.eras {
		e := &r.eras[r.era]
		r.states = append(r.states, e.states(now))
		r.disks = append(r.disks, make([]*simdisk.Disk, len(e.ops)))
		d = r.play(t, e, d)
		now = r.states[r.era][len(e.ops)]
		if e.end != shutdown {
			now = r.states[r.era][len(e.ops)-1]
		}
	}
	return r
}

// play is one era on a disk. It answers the disk of the next one.
func (r *recording) play(t *testing.T, e *era, d *simdisk.Disk) *simdisk.Disk {
	t.Helper()
	var err error
	r.disk, r.low, r.high, r.sure = &watched{Disk: d.Reopen()}, 0, 0, !e.ops[0].carried
	if e.ops[0].carried {
		r.high = 1
	}
	r.disk.before = r.cutHere
	if r.world, err = start(r.disk); err != nil {
		t.Fatalf("boot %d: %v", r.era+1, err)
	}
	for i := 0; i < len(e.ops); i += max(1, e.ops[i].burst) {
		r.disks[r.era][i] = r.disk.Clone()
		switch last := i == len(e.ops)-1; {
		case e.ops[i].carried:
		case e.ops[i].burst > 0:
			r.burst(t, i)
		case last && e.end != shutdown:
			r.disk.powerOff()
			r.begun()
			if err := e.ops[i].do(t.Context(), r.world); err == nil {
				t.Fatalf("%s was done without power", e.ops[i].text)
			}
		default:
			r.one(t, i)
		}
	}
	if e.end == shutdown {
		r.world.system.Shutdown()
		return r.disk.Disk
	}
	r.world.off()
	if e.end == killed {
		return r.disk.Disk
	}
	return r.disk.Lose(simdisk.Loss{File: func(simdisk.Unsynced) simdisk.Left {
		return simdisk.Left{Sector: func(i int) bool { return i < 3 }}
	}})
}

// cutHere notes how the disk is.
func (r *recording) cutHere(op simdisk.Op, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := cut{disk: r.disk.Clone(), call: op, data: bytes.Clone(data), era: r.era, low: r.low, high: r.high}
	r.cuts = append(r.cuts, c)
}

// begun and acknowledged note how far the era's ops are. What is acknowledged
// holds for everything before it as well.
func (r *recording) begun() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.high++
}

func (r *recording) acknowledged(ops int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := &r.eras[r.era].ops[ops-1]; o.syncs {
		r.sure = true
	}
	if r.sure {
		r.low = max(r.low, ops)
	}
}

func (r *recording) one(t *testing.T, i int) {
	t.Helper()
	r.begun()
	if err := r.eras[r.era].ops[i].do(t.Context(), r.world); err != nil {
		t.Fatalf("%s: %v", r.eras[r.era].ops[i].text, err)
	}
	r.acknowledged(i + 1)
}

// burst sends puts one by one, each when keymintd has sealed what the one before
// stores. The sync of the first waits for all of them, so that the others are
// one batch.
func (r *recording) burst(t *testing.T, from int) {
	t.Helper()
	e := &r.eras[r.era]
	ops := e.ops[from : from+e.ops[from].burst]
	gate := r.disk.hold()
	sealed := r.world.onSealed(len(ops))
	errs := make(chan error, len(ops))
	for i := range ops {
		r.begun()
		go func() {
			err := ops[i].do(t.Context(), r.world)
			r.acknowledged(from + i + 1)
			errs <- err
		}()
		<-sealed
		// keystored has the sealed record when it answers what it was asked later.
		if _, err := r.world.apps["mail"].Keychain.List(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(gate)
	for range ops {
		if err := <-errs; err != nil {
			t.Fatalf("burst: %v", err)
		}
	}
	r.world.onSealed(0)
}
