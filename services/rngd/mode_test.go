//go:build !insecure_deterministic

package rngd

import "testing"

func TestMode(t *testing.T) {
	if Mode != "system" {
		t.Fatalf("an ordinary binary has its chance from %q", Mode)
	}
}
