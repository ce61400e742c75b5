package crash

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
)

// fault is a way in which a call of the disk fails, and what whoever asked for
// it is told.
type fault struct {
	name string
	err  error
	code ipc.Code
	of   []simdisk.Kind // calls that can fail so; none is every one that writes
}

// faults are those of an append of so many bytes, and of all other calls.
func faults(length int) []fault {
	ends := []simdisk.Kind{simdisk.Append}
	entries := []simdisk.Kind{simdisk.Replace, simdisk.Rename, simdisk.Remove}
	full := disk.ErrNoSpace
	return []fault{
		{"EIO", syscall.EIO, ipc.IOError, nil},
		{"EIO", syscall.EIO, ipc.IOError, []simdisk.Kind{simdisk.Stat, simdisk.Read, simdisk.List}},
		{"ENOSPC", full, ipc.NoSpace, nil},
		{"half written, ENOSPC", simdisk.Short{Bytes: length / 2, Err: full}, ipc.NoSpace, ends},
		{"written but for a byte, ENOSPC", simdisk.Short{Bytes: length - 1, Err: full}, ipc.NoSpace, ends},
		{"written but for a byte, EIO", simdisk.Short{Bytes: length - 1, Err: syscall.EIO}, ipc.IOError, ends},
		{"done, EIO", simdisk.Unsure{Err: syscall.EIO}, ipc.IOError, entries},
	}
}

func (f *fault) fits(kind simdisk.Kind) bool {
	if f.of == nil {
		return kind.Writes()
	}
	return slices.Contains(f.of, kind)
}

// told says whether err is the exact error. A system that does not boot has no
// code for it yet.
func (f *fault) told(err error, booted bool) bool {
	if booted {
		return errors.Is(err, f.code)
	}
	return errors.Is(err, f.code) || errors.Is(err, f.err) || errors.Is(err, errors.Unwrap(f.err))
}

// try is one op of the script with one call of the disk that fails.
type try struct {
	era, op int
	number  int // of the call, of those that the op makes, from 0
	call    simdisk.Op
	fault   fault
}

func (r *recording) text(t try) string {
	return fmt.Sprintf("boot %d, op %d (%s), call %d (%s %s): %s", t.era+1, t.op, r.eras[t.era].ops[t.op].text,
		t.number, t.call.Kind, t.call.Path, t.fault.name)
}

// stage is a system on which one op of the script is done.
type stage struct {
	r       *recording
	era, op int
	disk    *watched
	world   *world // nil if it is to be booted

	mu       sync.Mutex
	poisoned string // a file of which a write has failed
	wrong    error  // that it was written to
}

// stage brings a system to where it was before an op. The first op comes with a
// boot.
func (r *recording) stage(t *testing.T, era, op int) (*stage, error) {
	s := &stage{r: r, era: era, op: op, disk: &watched{Disk: r.disks[era][op].Reopen()}}
	s.disk.before = s.before
	if op == r.first(era) {
		return s, nil
	}
	if err := s.boot(); err != nil {
		return s, err
	}
	loggedIn, unsealed := s.session(op)
	if loggedIn {
		if err := s.world.login(t.Context()); err != nil {
			return s, err
		}
	}
	if unsealed {
		return s, s.world.unseal(t.Context())
	}
	return s, nil
}

// first is the op of an era that comes with a boot.
func (r *recording) first(era int) int {
	if r.eras[era].ops[0].carried {
		return 1
	}
	return 0
}

// session says how the session is after some of the era's ops.
func (s *stage) session(ops int) (loggedIn, unsealed bool) {
	for _, o := range s.r.eras[s.era].ops[:ops] {
		switch o.text {
		case "login":
			loggedIn = true
		case "unseal":
			unsealed = true
		case "lock":
			unsealed = false
		}
	}
	return loggedIn, unsealed
}

// boot starts the system again, on what the disk has.
func (s *stage) boot() (err error) {
	s.world, err = start(s.disk)
	return err
}

// do does an op of the era, after a boot if one is due.
func (s *stage) do(t *testing.T, op int) error {
	if s.world == nil {
		if err := s.boot(); err != nil {
			s.disk.Disk = s.disk.Reopen()
			return err
		}
	}
	return s.r.eras[s.era].ops[op].do(t.Context(), s.world)
}

func (s *stage) end() {
	s.disk.TakeAway()
	if s.world != nil {
		s.world.off()
	}
}

// before makes sure that a file of which a write or a sync has failed takes no
// more before there is another in its place.
func (s *stage) before(c simdisk.Op, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poisoned == "" {
		return
	}
	switch c.Kind {
	case simdisk.Append, simdisk.Sync, simdisk.Truncate:
		if c.Path == s.poisoned {
			s.wrong = fmt.Errorf("%s of %s after a write to it has failed", c.Kind, c.Path)
		}
	case simdisk.Rename:
		if c.To == s.poisoned {
			s.poisoned = ""
		}
	default:
		if c.Path == s.poisoned {
			s.poisoned = ""
		}
	}
}

func (s *stage) poison(c simdisk.Op) {
	if c.Kind == simdisk.Append || c.Kind == simdisk.Sync || c.Kind == simdisk.Truncate {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.poisoned = c.Path
	}
}

func (s *stage) sound() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.wrong, s.world.sound())
}

// calls answers which calls of the disk an op makes.
func (r *recording) calls(t *testing.T, era, op int) (calls []simdisk.Op, err error) {
	s, err := r.stage(t, era, op)
	defer s.end()
	if err != nil {
		return nil, err
	}
	s.disk.SetFault(func(c simdisk.Op) error { calls = append(calls, c); return nil })
	err = s.do(t, op)
	s.disk.SetFault(nil)
	return calls, err
}

// fail does one op with one failing call. Whoever asked is told the exact error,
// or nothing if what they asked for was done all the same; what was acknowledged
// is there after a power cut; and the second time it works, and goes on.
func (r *recording) fail(t *testing.T, m *morgue, try try) error {
	s, err := r.stage(t, try.era, try.op)
	defer s.end()
	if err != nil {
		return fmt.Errorf("before the op: %w", err)
	}
	seen, hit := 0, false
	s.disk.SetFault(func(c simdisk.Op) error {
		if seen++; seen != try.number+1 || c.Kind != try.call.Kind || !alike(c.Path, try.call.Path) {
			return nil
		}
		hit = true
		s.poison(c)
		return try.fault.err
	})
	err = s.do(t, try.op)
	s.disk.SetFault(nil)
	if !hit {
		return fmt.Errorf("that call was not made (error %w)", err)
	}
	done := try.op
	if err == nil {
		done++
	}
	may := r.states[try.era][r.durable(try.era, done) : try.op+2]
	if err != nil && !try.fault.told(err, s.world != nil) {
		return fmt.Errorf("the error is %w", err)
	}
	what := r.text(try) + ", then a power cut"
	m.add(dead{disk: s.disk.Clone(), what: what, may: may, depth: len(m.stride)})
	if err != nil {
		err = s.do(t, try.op)
	}
	if again := r.eras[try.era].ops[try.op].again; err != nil && (again == 0 || !errors.Is(err, again)) {
		return fmt.Errorf("the second time: %w", err)
	}
	return r.goOn(t, m, s, try)
}

// alike says whether two plays of the script write these paths at the same place:
// a new ring has a name that chance decides.
func alike(a, b string) bool {
	return a == b || path.Dir(a) == path.Dir(b) && strings.HasSuffix(a, ".ring") && strings.HasSuffix(b, ".ring")
}

// durable is how many of an era's ops are durable when so many are done: none before
// what a killed process has left is.
func (r *recording) durable(era, done int) int {
	ops := r.eras[era].ops
	if ops[0].carried && !slices.ContainsFunc(ops[:done], func(o op) bool { return o.syncs }) {
		return 0
	}
	return done
}

// goOn does some more ops of the era, and looks.
func (r *recording) goOn(t *testing.T, m *morgue, s *stage, try try) error {
	ops, next := r.eras[try.era].ops, try.op+1
	for ; next < min(try.op+3, len(ops)); next++ {
		if err := s.do(t, next); err != nil {
			return fmt.Errorf("then %s: %w", ops[next].text, err)
		}
	}
	want := r.states[try.era][next]
	if _, unsealed := s.session(next); unsealed {
		now, err := s.world.look(t.Context())
		if err != nil {
			return err
		}
		if !maps.Equal(now, want) {
			return errors.New("there is" + difference(now, want))
		}
		m.add(dead{disk: s.disk.Clone(), what: r.text(try) + ", then more and a power cut", may: []state{want}, depth: len(m.stride)})
	}
	return s.sound()
}

// tries answers which calls are to fail, and how. In a run that is not full they
// are some of each kind: the first ones, and then one in so many.
func (r *recording) tries(t *testing.T) (tries []try) {
	first, stride := 8, 16
	if brief() {
		first, stride = 1, 300
	}
	seen := make(map[string]int)
	for era := range r.eras {
		for op := range r.eras[era].ops {
			if r.disks[era][op] == nil || op < r.first(era) {
				continue
			}
			calls, err := r.calls(t, era, op)
			if err != nil {
				t.Fatalf("boot %d, op %d: %v", era+1, op, err)
			}
			for n, c := range calls {
				for _, f := range faults(c.Len) {
					if !f.fits(c.Kind) {
						continue
					}
					kind := fmt.Sprint(c.Kind, path.Base(c.Path), f.name)
					if seen[kind]++; *full || seen[kind] <= first || seen[kind]%stride == 0 {
						tries = append(tries, try{era, op, n, c, f})
					}
				}
			}
		}
	}
	return tries
}

// TestEveryError has every call of the script fail in every way that it can,
// each in a system of its own that goes on afterwards.
func TestEveryError(t *testing.T) {
	m := newMorgue(t, seed(t))
	r := record(t)
	tries := r.tries(t)
	var all sync.WaitGroup
	queue := make(chan try)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for try := range queue {
				if err := r.fail(t, m, try); err != nil {
					m.fail(dead{what: r.text(try)}, err)
				}
			}
		})
	}
	for _, try := range tries {
		queue <- try
	}
	close(queue)
	all.Wait()
	m.work()
	t.Logf("%d calls failed, %d disks after it", len(tries), m.disks)
}
