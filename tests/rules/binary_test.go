package rules

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOrdinaryBinaryIsSecure shows by its build information that an ordinary
// binary was built without the insecure mode. The binary of that mode is the
// control: in it, the same search finds the tag.
func TestOrdinaryBinaryIsSecure(t *testing.T) {
	if carries(t, "-tags=") {
		t.Error("the ordinary binary carries the tag", insecureTag)
	}
	if !carries(t, "-tags="+insecureTag) {
		t.Error("the control does not carry the tag", insecureTag)
	}
}

// carries builds the simulated OS and looks for the tag in its build information.
func carries(t *testing.T, flag string) bool {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nexus-sim")
	build := exec.Command("go", "build", flag, "-o", binary, "./cmd/nexus-sim")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", flag, err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range info.Settings {
		if setting.Key == "-tags" {
			return among(insecureTag, strings.ReplaceAll(setting.Value, ",", " "))
		}
	}
	return false
}
