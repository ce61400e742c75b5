//go:build !insecure_deterministic

package rngd

// Mode names where chance comes from in this binary.
const Mode = "system"
