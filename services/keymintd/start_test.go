package keymintd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

var errDisk = errors.New("the disk failed")

const saltRel = "keymint/device.salt"

func TestFirstBootMakesTheSaltOnce(t *testing.T) {
	d := simdisk.New()
	w := boot(t, 1, d)
	expect(t, "first boot", w.startErr, nil)
	if !slices.Contains(w.Console(), "keymintd: ready") {
		t.Errorf("console %q", w.Console())
	}
	first := onDisk(t, d)
	salt, err := decodeSalt([]byte(first[saltRel]))
	if err != nil || len(first) != 1 || zero(salt[:]) {
		t.Fatalf("first boot left %d files: %v", len(first), err)
	}
	cut := d.Crash() // What is made at the first boot survives the power cut right after.
	w = bootWith(t, rig.NewSeeded(t, 2, nil), cut, &testChance{drawn: 999}, Limits{})
	expect(t, "second boot", w.startErr, nil)
	if !maps.Equal(onDisk(t, cut), first) {
		t.Error("the second boot changed the disk")
	}
	if len(w.chance.asked) != 1 { // rngd's own start
		t.Errorf("the second boot asked for chance: %v", w.chance.asked)
	}
}

// TestSaltIsNeverMadeAnew boots on every kind of trouble and looks that nothing
// was written and nothing is ready.
func TestSaltIsNeverMadeAnew(t *testing.T) {
	var salt [KeySize]byte
	good := string(encodeSalt(&salt))
	failing := func(kind simdisk.Kind) func(simdisk.Op) error {
		return func(op simdisk.Op) error {
			if op.Kind == kind && (op.Kind == simdisk.List || op.Path == "state/"+saltRel) {
				return errDisk
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		files  map[string]string
		fault  func(simdisk.Op) error
		want   ipc.Code
		offset int64
	}{
		"absent beside a user database": {map[string]string{"identity/users.db": "x"}, nil, ipc.Damaged, 0},
		"absent beside a vault":         {map[string]string{"identity/alice/vault.kv": "x"}, nil, ipc.Damaged, 0},
		"absent beside a ring":          {map[string]string{"identity/alice/apps/0.ring": "x"}, nil, ipc.Damaged, 0},
		"absent beside anything":        {map[string]string{"other": ""}, nil, ipc.Damaged, 0},
		"empty":                         {map[string]string{saltRel: ""}, nil, ipc.Damaged, 0},
		"short":                         {map[string]string{saltRel: good[:60]}, nil, ipc.Damaged, 60},
		"long":                          {map[string]string{saltRel: good + "x"}, nil, ipc.Damaged, 70},
		"damaged":                       {map[string]string{saltRel: good[:20] + "x" + good[21:]}, nil, ipc.Damaged, 38},
		"unreadable":                    {map[string]string{saltRel: good}, failing(simdisk.Read), ipc.IOError, 0},
		"no size":                       {map[string]string{saltRel: good}, failing(simdisk.Stat), ipc.IOError, 0},
		"unreadable and alone":          {nil, failing(simdisk.Stat), ipc.IOError, 0},
		"not written":                   {nil, failing(simdisk.Replace), ipc.IOError, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := simdisk.New()
			for path, content := range c.files {
				put(t, d, path, content)
			}
			before := onDisk(t, d)
			d.SetFault(c.fault)
			w := boot(t, 1, d)
			d.SetFault(nil)
			expectFault(t, "start", w.startErr, c.want, saltPath, c.offset)
			if !maps.Equal(onDisk(t, d), before) {
				t.Error("the disk was changed")
			}
			if slices.Contains(w.Console(), "keymintd: ready") {
				t.Error("ready without a salt")
			}
		})
	}
}

func TestSaltOfAnotherVersionIsRefused(t *testing.T) {
	d := simdisk.New()
	b := append([]byte("NXDS\x02\x00"), make([]byte, KeySize)...)
	put(t, d, saltRel, string(appendSum(b)))
	w := boot(t, 1, d)
	expect(t, "start", w.startErr, ipc.Unsupported)
}

func TestListingMustWorkAtFirstBoot(t *testing.T) {
	d := simdisk.New()
	lists := 0
	d.SetFault(func(op simdisk.Op) error {
		if op.Kind == simdisk.List {
			if lists++; lists > 1 { // The first one is statefsd's own start.
				return errDisk
			}
		}
		return nil
	})
	w := boot(t, 1, d)
	d.SetFault(nil)
	expect(t, "start", w.startErr, ipc.IOError)
	if n := len(onDisk(t, d)); n != 0 {
		t.Errorf("%d files were made", n)
	}
}

func TestNoSaltWithoutChance(t *testing.T) {
	d := simdisk.New()
	chance := &testChance{}
	// rngd needs chance for its own start, which is over at the disk's first call.
	d.SetFault(func(simdisk.Op) error { chance.fail = true; return nil })
	w := bootWith(t, rig.NewSeeded(t, 1, nil), d, chance, Limits{})
	d.SetFault(nil)
	expect(t, "start", w.startErr, ipc.Unavailable)
	if n := len(onDisk(t, d)); n != 0 {
		t.Errorf("%d files were made", n)
	}
}

// TestFirstBootAtEveryCut cuts the power before every operation of the first
// boot. The next boot must find either nothing or the salt.
func TestFirstBootAtEveryCut(t *testing.T) {
	whole := simdisk.New()
	boot(t, 1, whole)
	for n := uint64(2); n <= whole.Calls(); n++ { // The first one is statefsd's own start.
		d := simdisk.New()
		d.SetFault(simdisk.FailFrom(n, errDisk))
		if w := boot(t, 1, d); w.startErr == nil {
			t.Errorf("cut %d: ready without a disk", n)
		}
		after := d.Crash()
		w := bootWith(t, rig.NewSeeded(t, 1, nil), after, &testChance{drawn: n}, Limits{})
		expect(t, "boot after a cut", w.startErr, nil)
		if len(onDisk(t, after)) != 1 {
			t.Errorf("cut %d: %d files", n, len(onDisk(t, after)))
		}
	}
}

func TestLimitsOfConfigReachTheService(t *testing.T) {
	w := bootWith(t, rig.NewSeeded(t, 1, nil), simdisk.New(), &testChance{}, Limits{SigningKeys: 2, Apps: 2})
	w.do(func(ctx context.Context) {
		s := w.unsealed(ctx, alice)
		for i, want := range []error{nil, nil, ipc.LimitReached} {
			_, err := s.app("one").generate(ctx, string(rune('a'+i)))
			expect(t, "key", err, want)
		}
		for i, want := range []error{nil, ipc.LimitReached} {
			_, err := s.app("two." + string(rune('a'+i))).key(ctx)
			expect(t, "app", err, want)
		}
	})
}
