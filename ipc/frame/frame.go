// Package frame has the bytes of the target OS's messages: the header before
// every payload, the envelope that carries the nonce of a request to a shared
// inbox and back, and the frames that ask for a route. docs/spec/frames.md
// specifies them, tests/vectors has golden ones. Integers are little-endian.
//
// It is pure: it knows no kernel and keeps nothing.
package frame

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed says that bytes are no frame of the kind that was asked for.
var ErrMalformed = errors.New("frame: malformed")

// HeaderSize is the size of a header, in bytes; its alignment is 4.
const HeaderSize = 16

// CapMove is the bit of Header.Flags that says that a capability travels along.
const CapMove uint16 = 1

// Header is what the target OS puts before every payload.
type Header struct {
	Src   uint32 // the slot of the capability that moves: the sender's, and then the receiver's
	Dst   uint32 // the endpoint's number; the kernel's word, whatever the sender wrote
	Type  uint16 // opcode
	Flags uint16
	Len   uint32 // of the payload, in bytes
}

// Append appends the header's 16 bytes.
func (h Header) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.Src)
	b = binary.LittleEndian.AppendUint32(b, h.Dst)
	b = binary.LittleEndian.AppendUint16(b, h.Type)
	b = binary.LittleEndian.AppendUint16(b, h.Flags)
	return binary.LittleEndian.AppendUint32(b, h.Len)
}

// ParseHeader reads exactly 16 bytes; any are a header. It returns ErrMalformed
// for another length.
func ParseHeader(b []byte) (Header, error) {
	if len(b) != HeaderSize {
		return Header{}, ErrMalformed
	}
	return Header{
		Src:   binary.LittleEndian.Uint32(b),
		Dst:   binary.LittleEndian.Uint32(b[4:]),
		Type:  binary.LittleEndian.Uint16(b[8:]),
		Flags: binary.LittleEndian.Uint16(b[10:]),
		Len:   binary.LittleEndian.Uint32(b[12:]),
	}, nil
}

// Sizes of the envelopes, in bytes: what a request and an answer carry before
// their bodies.
const (
	RequestSize = 8
	AnswerSize  = 10
)

// AppendRequest appends the envelope of a request and its body.
func AppendRequest(b []byte, nonce uint64, body []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(b, nonce), body...)
}

// ParseRequest splits a request into its nonce and its body, which is a part of
// b. It returns ErrMalformed for less than RequestSize bytes.
func ParseRequest(b []byte) (nonce uint64, body []byte, err error) {
	if len(b) < RequestSize {
		return 0, nil, ErrMalformed
	}
	return binary.LittleEndian.Uint64(b), b[RequestSize:], nil
}

// AppendAnswer appends the envelope of an answer and its body: the request's
// nonce unchanged, and the number of a code.
func AppendAnswer(b []byte, nonce uint64, code uint16, body []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, nonce)
	return append(binary.LittleEndian.AppendUint16(b, code), body...)
}

// ParseAnswer is its inverse. It returns ErrMalformed for less than AnswerSize
// bytes; the code may be one that nobody knows.
func ParseAnswer(b []byte) (nonce uint64, code uint16, body []byte, err error) {
	if len(b) < AnswerSize {
		return 0, 0, nil, ErrMalformed
	}
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[RequestSize:]), b[AnswerSize:], nil
}
