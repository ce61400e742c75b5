//go:build !race

package primitive

const race = false
