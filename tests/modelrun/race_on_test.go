//go:build race

package modelrun

// defaultWords is less under the race detector, which is slow and finds nothing in
// a run by seed.
const defaultWords = 2
