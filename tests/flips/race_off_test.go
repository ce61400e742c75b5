//go:build !race

package flips

// stride is how many changes there are to one boot.
const stride = 3
