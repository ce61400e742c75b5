//go:build !race

package modelrun

// defaultWords is how many steps the words of TestInterleavings have.
const defaultWords = 3
