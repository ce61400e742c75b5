// Package state makes tests/vectors/state/state.json, whole state directories and
// some with one fault, and holds them against the system and against the reader
// in tests/vectors/reader.
//
// The good ones are what the system leaves of a script in the
// insecure_deterministic mode. What a fault is called stands in the table of
// faults, from docs/spec, and is measured by neither of the two readers.
package state
