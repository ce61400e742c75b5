package frame

import "encoding/binary"

// MaxRouteName is the longest name of a service in a routing request, in bytes;
// the shortest has one.
const MaxRouteName = 64

// How routing frames begin: magic, version, operation.
const (
	routeRequest = "RT\x01\x40"
	routeAnswer  = "RT\x01\x41"
)

// Sizes of routing frames, in bytes.
const (
	routePrefix     = 4                    // magic, version, operation
	routeFixed      = routePrefix + 1 + 4  // of a request, all but its name
	RouteAnswerSize = routePrefix + 1 + 12 // of an answer
)

// RouteStatus is what comes of a routing request.
type RouteStatus uint8

// The statuses of the target OS, a closed set.
const (
	RouteOK        RouteStatus = iota
	RouteNotFound              // nobody has that name
	RouteMalformed             // the request does not decode
	RouteDenied                // policy says no
)

var routeStatusText = [...]string{
	RouteOK:        "ok",
	RouteNotFound:  "not found",
	RouteMalformed: "malformed",
	RouteDenied:    "denied",
}

// String returns the status's stable text.
func (s RouteStatus) String() string {
	if s.valid() {
		return routeStatusText[s]
	}
	return "unknown status"
}

func (s RouteStatus) valid() bool { return int(s) < len(routeStatusText) }

// RouteRequest asks for the slots of a service.
type RouteRequest struct {
	Name  string // 1 to MaxRouteName bytes, any
	Nonce uint32
}

// Append appends the request's bytes. It returns ErrMalformed, and b as it was,
// for a name that is empty or too long.
func (r RouteRequest) Append(b []byte) ([]byte, error) {
	if len(r.Name) < 1 || len(r.Name) > MaxRouteName {
		return b, ErrMalformed
	}
	b = append(b, routeRequest...)
	b = append(b, byte(len(r.Name)))
	b = append(b, r.Name...)
	return binary.LittleEndian.AppendUint32(b, r.Nonce), nil
}

// ParseRouteRequest is its inverse. It returns ErrMalformed for any bytes that
// Append does not make.
func ParseRouteRequest(b []byte) (RouteRequest, error) {
	if len(b) < routeFixed || string(b[:routePrefix]) != routeRequest {
		return RouteRequest{}, ErrMalformed
	}
	n := int(b[routePrefix])
	if n < 1 || n > MaxRouteName || len(b) != routeFixed+n {
		return RouteRequest{}, ErrMalformed
	}
	name := b[routePrefix+1:][:n]
	return RouteRequest{string(name), lastNonce(b)}, nil
}

// RouteNonce is what the answer to a malformed request has for a nonce, so that
// it finds who asked: the last four bytes if the request begins like one and has
// room for them, 0 otherwise.
func RouteNonce(b []byte) uint32 {
	if len(b) < routeFixed || string(b[:routePrefix]) != routeRequest {
		return 0
	}
	return lastNonce(b)
}

func lastNonce(b []byte) uint32 { return binary.LittleEndian.Uint32(b[len(b)-4:]) }

// RouteAnswer is the answer to a routing request.
type RouteAnswer struct {
	Status RouteStatus
	Send   uint32 // slot in the asker's table; 0 and without meaning unless the status is RouteOK
	Recv   uint32 // likewise
	Nonce  uint32 // the request's
}

// Append appends the answer's RouteAnswerSize bytes.
func (a RouteAnswer) Append(b []byte) []byte {
	b = append(b, routeAnswer...)
	b = append(b, byte(a.Status))
	b = binary.LittleEndian.AppendUint32(b, a.Send)
	b = binary.LittleEndian.AppendUint32(b, a.Recv)
	return binary.LittleEndian.AppendUint32(b, a.Nonce)
}

// ParseRouteAnswer is its inverse. It returns ErrMalformed for any other bytes
// and for a status that is none of the set.
func ParseRouteAnswer(b []byte) (RouteAnswer, error) {
	if len(b) != RouteAnswerSize || string(b[:routePrefix]) != routeAnswer || !RouteStatus(b[routePrefix]).valid() {
		return RouteAnswer{}, ErrMalformed
	}
	slots := b[routePrefix+1:]
	return RouteAnswer{
		Status: RouteStatus(b[routePrefix]),
		Send:   binary.LittleEndian.Uint32(slots),
		Recv:   binary.LittleEndian.Uint32(slots[4:]),
		Nonce:  lastNonce(b),
	}, nil
}
