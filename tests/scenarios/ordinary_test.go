package scenarios

import (
	"os"
	"path/filepath"
	"testing"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/cmd/machine"
	"nexus.internal/os/cmd/scenario"
	"nexus.internal/os/services/identityd"
)

// fewest is how many scenarios there have to be at least.
const fewest = 30

// load reads every scenario of this folder.
func load(t *testing.T) []*scenario.Scenario {
	t.Helper()
	names, err := filepath.Glob("*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < fewest {
		t.Errorf("there are %d scenarios, and at least %d have to be", len(names), fewest)
	}
	var all []*scenario.Scenario
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// cheap keeps Argon2id out of the way; what ships is measured elsewhere.
var cheap = identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}

// Every scenario plays on goroutines and a real directory.
func TestOrdinary(t *testing.T) {
	for _, s := range load(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			o := s.Play(scenario.Stage{Machine: machine.Config{
				Boot:    boot.Config{Argon: cheap},
				Storage: &machine.Dir{Path: t.TempDir()},
			}})
			if o.Err != nil {
				t.Error(o.Err)
			}
		})
	}
}
