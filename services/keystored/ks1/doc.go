// Package ks1 has the bytes of KS v1, the target OS's protocol for keystored:
// requests and responses. docs/spec/ks1.md specifies them, tests/vectors has
// golden ones.
//
// It is pure: it stores nothing, decides nothing and knows no kernel. What it
// reads are parts of the frame that it was given, keys and values included, so
// that whoever holds the frame wipes them.
package ks1
