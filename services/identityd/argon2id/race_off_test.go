//go:build !race

package argon2id

const race = false
