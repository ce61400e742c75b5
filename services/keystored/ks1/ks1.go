package ks1

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed says that bytes are no response of KS v1, or that a message has
// none.
var ErrMalformed = errors.New("ks1: malformed")

// Limits of KS v1, in bytes.
const (
	MaxKey   = 64  // the shortest key has one
	MaxValue = 256 // the shortest value has none

	MaxRequest  = headerSize + MaxKey + MaxValue
	MaxResponse = headerSize + MaxValue
)

// What all frames begin with, and how much stands before a key or a value.
const (
	magic      = "KS\x01" // with the version
	prefixSize = 4        // magic, version, operation
	headerSize = 7        // of a request: key and value length; of a response: status and value length
)

// answered is the bit that makes an operation of a request that of its response.
const answered = 0x80

// Op is an operation.
type Op uint8

// The operations that there are here, and the one that there never will be.
const (
	Put Op = 1
	Get Op = 2
	Del Op = 3

	PrivateExport Op = 13
)

// Status is what comes of a request.
type Status uint8

// The target OS's statuses, a closed set.
const (
	OK                   Status = 0
	NotFound             Status = 1
	Malformed            Status = 2
	TooLarge             Status = 3
	Unsupported          Status = 4
	Deny                 Status = 5
	PrivateExportRefused Status = 12
)

var statusText = map[Status]string{
	OK:                   "ok",
	NotFound:             "not found",
	Malformed:            "malformed",
	TooLarge:             "too large",
	Unsupported:          "unsupported",
	Deny:                 "deny",
	PrivateExportRefused: "private export refused",
}

// String returns the status's stable text.
func (s Status) String() string {
	if text, ok := statusText[s]; ok {
		return text
	}
	return "unknown status"
}

// Request is one request.
type Request struct {
	Op    Op
	Key   []byte // 1 to MaxKey bytes, any
	Value []byte // at most MaxValue bytes, and none but for Put
}

// check says what is wrong with a request that has a layout.
func (r Request) check() Status {
	switch {
	case len(r.Key) > MaxKey || len(r.Value) > MaxValue:
		return TooLarge
	case len(r.Key) == 0 || len(r.Value) != 0 && r.Op != Put:
		return Malformed
	}
	return OK
}

func (op Op) known() bool { return op == Put || op == Get || op == Del }

// Append appends the request's bytes. It returns ErrMalformed, and b as it was,
// for a request that ParseRequest would refuse.
func (r Request) Append(b []byte) ([]byte, error) {
	if !r.Op.known() || r.check() != OK {
		return b, ErrMalformed
	}
	b = append(b, magic...)
	b = append(b, byte(r.Op), byte(len(r.Key)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Value)))
	b = append(b, r.Key...)
	return append(b, r.Value...), nil
}

// ParseRequest reads a frame; Key and Value are parts of it. With another
// status than OK the request has nothing but the operation that the answer is
// for, and that status is the answer. The first of these that applies:
//
//	not KS v1, or no operation             Malformed, as Get
//	private export, whatever follows       PrivateExportRefused
//	another operation than Put, Get, Del   Unsupported
//	no room for the two lengths            Malformed
//	a length over its limit                TooLarge
//	lengths that are not the frame's       Malformed
//	an empty key, a value without Put      Malformed
func ParseRequest(frame []byte) (Request, Status) {
	if len(frame) < prefixSize || string(frame[:len(magic)]) != magic {
		return Request{Op: Get}, Malformed
	}
	refused := Request{Op: Op(frame[len(magic)])}
	switch {
	case refused.Op == PrivateExport:
		return refused, PrivateExportRefused
	case !refused.Op.known():
		return refused, Unsupported
	case len(frame) < headerSize:
		return refused, Malformed
	}
	key, value := int(frame[4]), int(binary.LittleEndian.Uint16(frame[5:]))
	switch {
	case key > MaxKey || value > MaxValue:
		return refused, TooLarge
	case len(frame) != headerSize+key+value:
		return refused, Malformed
	}
	r := Request{refused.Op, frame[headerSize:][:key], frame[headerSize+key:]}
	if status := r.check(); status != OK {
		return refused, status
	}
	return r, OK
}

// Response is the answer to a request.
type Response struct {
	Op     Op // the request's, without its highest bit
	Status Status
	Value  []byte // at most MaxValue bytes, and none but for Get and OK
}

// wellFormed says whether a response has bytes.
func (r Response) wellFormed() bool {
	_, known := statusText[r.Status]
	return known && len(r.Value) <= MaxValue && (len(r.Value) == 0 || r.Op == Get && r.Status == OK)
}

// Append appends the response's bytes: at most MaxResponse, so that a buffer
// with room for them stays the only place of the value. It returns ErrMalformed,
// and b as it was, for an unknown status, a value over MaxValue, or a value
// where there is none.
func (r Response) Append(b []byte) ([]byte, error) {
	if !r.wellFormed() {
		return b, ErrMalformed
	}
	b = append(b, magic...)
	b = append(b, byte(r.Op)|answered, byte(r.Status))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Value)))
	return append(b, r.Value...), nil
}

// ParseResponse reads a frame; the value is a part of it. It returns
// ErrMalformed for any bytes that Append does not make. Whether the response is
// for the operation that was asked for is the caller's to see.
func ParseResponse(frame []byte) (Response, error) {
	if len(frame) < headerSize || string(frame[:len(magic)]) != magic || frame[3]&answered == 0 {
		return Response{}, ErrMalformed
	}
	if len(frame) != headerSize+int(binary.LittleEndian.Uint16(frame[5:])) {
		return Response{}, ErrMalformed
	}
	r := Response{Op(frame[3] &^ answered), Status(frame[4]), frame[headerSize:]}
	if !r.wellFormed() {
		return Response{}, ErrMalformed
	}
	return r, nil
}
