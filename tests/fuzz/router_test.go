//go:build insecure_deterministic

package fuzz

import (
	"testing"

	"nexus.internal/os/tests/modelrun"
)

// FuzzRouter has bytes say what several tasks do to the live router; the model of
// the kernel is the oracle.
func FuzzRouter(f *testing.F) { fuzz(f, modelrun.Router{}) }
