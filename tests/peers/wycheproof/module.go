//go:build vectors

package wycheproof

// The vectors are read as files, so that 100 MB of them are not linked into the
// test: this import, which no build makes, is what keeps their version in go.mod.
import _ "github.com/c2sp/wycheproof"
