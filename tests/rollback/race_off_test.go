//go:build !race

package rollback

const cutTwice = true
