package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/identityd/userdb"
)

// TestCalibrate: what calibrate prints can be given to boot, and is what a
// credential costs from then on.
func TestCalibrate(t *testing.T) {
	t.Parallel()
	s := newSim(t)
	e := s.run("", "calibrate", "--time", "1ns")
	lines := strings.Split(strings.TrimSpace(e.out), "\n")
	if e.status != 0 || len(lines) != 2 || lines[1] != "boot --argon 19456,2,1" {
		t.Errorf("without time: status %d, %q", e.status, e.out)
	}
	s.boot("create-user alice pin 271828\n", "--argon", "19456,3,1")
	file, err := os.ReadFile(filepath.Join(s.dir, "os", "state", "identity", "users.db"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := userdb.Decode(file)
	if want := (identityd.Params{MemoryKiB: 19456, Passes: 3, Lanes: 1}); err != nil || db.Users()[0].Protectors[0].Cost != want {
		t.Errorf("the credential costs %+v, %v", db, err)
	}
	s.boot("login alice pin 271828\n") // A credential keeps its own cost.
	for _, wrong := range []string{"1", "19456,2", "19456,2,1,1", "19455,2,1", "19456,1,1", "19456,2,0", "19456,2,5", "262145,2,1", "19456,17,1", "19456,2,-1", "a,b,c", "19456, 2,1"} {
		e := s.run("", "boot", "--state", "os", "--argon", wrong)
		if e.status != 2 || !strings.Contains(e.err, "is not KiB,passes,lanes") {
			t.Errorf("%q: status %d, %s", wrong, e.status, e.err)
		}
	}
	for _, wrong := range [][]string{{"--time", "0s"}, {"--time", "-1s"}, {"--memory-max", "0"}, {"--memory-max", "257"}} {
		if e := s.run("", append([]string{"calibrate"}, wrong...)...); e.status != 2 {
			t.Errorf("%q: status %d", wrong, e.status)
		}
	}
}
