package statefsd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

var errInjected = errors.New("injected")

// orders sends one request from each of many flows, some of them on two paths,
// and answers in which order they were sent and in which the disk saw them.
func orders(t *testing.T, seed uint64) (sent, done []string) {
	d := simdisk.New()
	s := serve(rig.NewSeeded(t, seed, nil), statefsd.Config{Disk: d, Grants: all})
	c := s.client("owner")
	d.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.Replace {
			done = append(done, fmt.Sprint(op.Path, " ", op.Len))
		}
		return nil
	})
	var wait []chan struct{}
	for i := range 24 {
		ready := make(chan struct{})
		wait = append(wait, ready)
		path := string("abc"[i%3])
		c.task.Go(func(ctx context.Context) {
			defer close(ready)
			if i%8 == 7 {
				// It takes two lanes; there is nothing to rename or there is.
				err := c.rename(ctx, "state:/"+path, "state:/a")
				if err != nil && !errors.Is(err, ipc.NotFound) && !errors.Is(err, ipc.InvalidArgument) {
					t.Error(err)
				}
				return
			}
			sent = append(sent, fmt.Sprint("state/", path, " ", i))
			wantErr(t, c.replace(ctx, "state:/"+path, strings.Repeat("x", i)), nil)
		})
	}
	for _, ready := range wait {
		if !s.Sched.Await(ready, nil) {
			t.Fatal("requests wait for each other")
		}
	}
	return sent, done
}

func only(path string, list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, path+" ") })
}

// TestOrder runs by many seeds: each path's requests are done in the order in
// which they were sent; those on different paths overtake each other.
func TestOrder(t *testing.T) {
	overtaken := 0
	for seed := range uint64(40) {
		sent, done := orders(t, seed+1)
		for _, p := range []string{"state/a", "state/b", "state/c"} {
			if !slices.Equal(only(p, sent), only(p, done)) {
				t.Fatalf("seed %d: sent %q, done %q", seed+1, sent, done)
			}
		}
		if !slices.Equal(sent, done) {
			overtaken++
		}
	}
	if overtaken == 0 {
		t.Fatal("requests on different paths never ran side by side")
	}
}

// gate is a disk whose syncs of one file wait till they may go on.
type gate struct {
	disk.Disk
	path    string
	entered chan struct{}
	open    chan struct{}
}

func (g gate) Sync(path string) error {
	if path == g.path {
		g.entered <- struct{}{}
		<-g.open
	}
	return g.Disk.Sync(path)
}

// TestSlowSyncHoldsNobodyElse has a sync that doesn't end: other files go on.
func TestSlowSyncHoldsNobodyElse(t *testing.T) {
	g := gate{simdisk.New(), "state/slow", make(chan struct{}), make(chan struct{})}
	s := serve(rig.New(t), statefsd.Config{Disk: g, Grants: all})
	c := s.client("owner")
	slow := make(chan struct{})
	c.task.Go(func(ctx context.Context) {
		defer close(slow)
		_, err := c.append(ctx, "state:/slow", 0, "x", true)
		wantErr(t, err, nil)
	})
	<-g.entered
	s.Do(c.task, func(ctx context.Context) {
		wantErr(t, c.replace(ctx, "state:/other", "y"), nil)
		_, err := c.append(ctx, "state:/other", 1, "z", true)
		wantErr(t, err, nil)
		_, _, err = c.read(ctx, "state:/other", 0, 10)
		wantErr(t, err, nil)
	})
	select {
	case <-slow:
		t.Error("answered before the sync ended")
	default:
	}
	close(g.open)
	<-slow
}

// TestManyWriters runs on goroutines and real files.
func TestManyWriters(t *testing.T) {
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s := serve(rig.New(t), statefsd.Config{Disk: d, Grants: all})
	const writers, appends = 16, 8
	var wg sync.WaitGroup
	for w := range writers {
		c := s.client("owner")
		wg.Add(1)
		c.task.Go(func(ctx context.Context) {
			defer wg.Done()
			path := fmt.Sprintf("state:/d%d/f%d", w%4, w)
			for i := range appends {
				size, err := c.append(ctx, path, uint64(i), string(rune('a'+i)), i%2 == 0)
				if size != uint64(i+1) || err != nil {
					t.Errorf("%s: %d, %v", path, size, err)
					return
				}
			}
			if data, _, err := c.read(ctx, path, 0, 100); data != "abcdefgh" || err != nil {
				t.Errorf("%s: %q, %v", path, data, err)
			}
			wantErr(t, c.remove(ctx, path), nil)
		})
	}
	wg.Wait()
	if paths, err := d.List(""); len(paths) != 0 || err != nil {
		t.Errorf("left over: %q, %v", paths, err)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		inject, want error
		place        bool
	}{
		{errInjected, ipc.IOError, true},
		{disk.ErrReadOnly, ipc.IOError, true},
		{disk.ErrPoisoned, ipc.IOError, true},
		{disk.ErrNoSpace, ipc.NoSpace, false}, // wire carries places of IOError and Damaged only
		{disk.ErrClosed, ipc.Unavailable, false},
	} {
		d := simdisk.New()
		run(t, d, func(ctx context.Context, cl client) {
			wantErr(t, cl.replace(ctx, "state:/f", "abc"), nil)
			before := d.Hash()
			d.SetFault(func(simdisk.Op) error { return c.inject })
			_, _, readErr := cl.read(ctx, "state:/f", 1, 1)
			_, appendErr := cl.append(ctx, "state:/f", 3, "d", true)
			_, syncErr := cl.append(ctx, "state:/f", 0, "", true)
			_, _, listErr := cl.list(ctx, "state:/f", "")
			for i, err := range []error{
				readErr, appendErr, cl.replace(ctx, "state:/f", "d"), cl.truncate(ctx, "state:/f", 1),
				cl.rename(ctx, "state:/f", "state:/g"), cl.remove(ctx, "state:/f"), syncErr, listErr,
			} {
				wantErr(t, err, c.want)
				var f *wire.Fault
				if errors.As(err, &f) != c.place || c.place && f.File != "state:/f" {
					t.Errorf("call %d: fault %v of %v", i, f, c.inject)
				}
				if i < 2 && c.place && f.Offset != []int64{1, 3}[i] {
					t.Errorf("call %d: fault at %d", i, f.Offset)
				}
			}
			if d.Hash() != before {
				t.Error("failed calls changed the disk")
			}
		})
	}
}

// TestPoisoned loses a sync: the file takes no more writes till it is replaced.
func TestPoisoned(t *testing.T) {
	d := simdisk.New()
	run(t, d, func(ctx context.Context, c client) {
		wantErr(t, c.replace(ctx, "state:/f", "abc"), nil)
		d.SetFault(func(op simdisk.Op) error {
			if op.Kind == simdisk.Sync {
				return errInjected
			}
			return nil
		})
		_, err := c.append(ctx, "state:/f", 3, "lost", true)
		wantErr(t, err, ipc.IOError)
		d.SetFault(nil)
		_, err = c.append(ctx, "state:/f", 7, "d", true)
		wantErr(t, err, ipc.IOError)
		_, err = c.append(ctx, "state:/f", 0, "", true)
		wantErr(t, err, ipc.IOError)
		wantErr(t, c.truncate(ctx, "state:/f", 3), ipc.IOError)
		_, _, err = c.read(ctx, "state:/f", 0, 7)
		wantErr(t, err, nil)
		wantErr(t, c.replace(ctx, "state:/f", "abc"), nil)
		_, err = c.append(ctx, "state:/f", 3, "d", true)
		wantErr(t, err, nil)
	})
}

// bomb is a disk that panics when a file of that name is replaced.
type bomb struct{ disk.Disk }

func (b bomb) Replace(path string, p []byte) error {
	if path == "state/bomb" {
		panic("the disk's own bug")
	}
	return b.Disk.Replace(path, p)
}

// TestPanicIsContained has a disk that panics: the caller gets an error, and
// the next instance serves on.
func TestPanicIsContained(t *testing.T) {
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: bomb{simdisk.New()}, Grants: all, MaxFiles: 2})
	c := s.client("owner")
	s.Do(c.task, func(ctx context.Context) {
		wantErr(t, c.replace(ctx, "state:/f", "abc"), nil)
		wantErr(t, c.replace(ctx, "state:/bomb", ""), ipc.Unavailable)
		if data, _, err := c.read(ctx, "state:/f", 0, 10); data != "abc" || err != nil {
			t.Errorf("afterwards: %q, %v", data, err)
		}
		wantErr(t, c.replace(ctx, "state:/g", ""), nil)
		wantErr(t, c.replace(ctx, "state:/h", ""), ipc.LimitReached)
	})
	if got := s.Console(); !slices.Equal(got, []string{"statefsd: ready", "statefsd: ready"}) {
		t.Errorf("console %q", got)
	}
}
