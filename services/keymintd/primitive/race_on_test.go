//go:build race

package primitive

const race = true
