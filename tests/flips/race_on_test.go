//go:build race

package flips

// stride is how many changes there are to one boot; under the race detector a
// boot takes ten times as long.
const stride = 21
