// Package model says what the kernel does, in the shortest way that can be read
// against docs/IPC.md: every operation is a few checks in the documented order
// and an effect. It is slow on purpose. Nothing is counted or indexed: who holds
// a slot, how many bytes are queued, who waits first, whether a sender is left,
// is found by looking at everything each time.
//
// It knows names of the kernel's constants (rights, codes, flags, limits) and
// nothing of its code. Tests drive it and the kernel with the same operations
// and compare every answer.
package model
