// Package wire is what requests and replies look like: one protobuf schema per
// service with its generated code, the opcodes, one generic typed call for
// clients and one multiplexer for services. The kernel sees bytes only.
//
// Decoding is strict: each message has one encoding, and anything else is
// Malformed. Buffers and the bytes fields of messages are wiped after use,
// because they may hold secrets; messages are never formatted for the same
// reason.
package wire
