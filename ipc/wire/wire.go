package wire

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"nexus.internal/os/ipc"
)

// Fault is an error of a service that names a place on disk. errors.Is finds
// its code.
type Fault struct {
	Code   ipc.Code
	File   string // a state: path
	Offset int64  // bytes from the file's start
}

func (f *Fault) Error() string {
	return f.Code.Error() + ": " + ipc.EscapeMark(f.File) + " at offset " + strconv.FormatInt(f.Offset, 10)
}

// Unwrap returns the code.
func (f *Fault) Unwrap() error { return f.Code }

// buffers keeps frames between calls. They are wiped before they come here.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, ipc.MaxFrame)
	return &b
}}

func putBuffer(b *[]byte) {
	clear((*b)[:cap(*b)])
	*b = (*b)[:0]
	buffers.Put(b)
}

var (
	encoder = proto.MarshalOptions{Deterministic: true}
	decoder = proto.UnmarshalOptions{DiscardUnknown: false}
)

// Call sends request q and decodes the answer into p. The error is nil, an
// ipc.Code, a *Fault, a *Later, or the error of a refused context. TooLarge means that
// the request does not fit a frame.
func Call(ctx context.Context, t *ipc.Task, m ipc.Msg, q, p proto.Message) error {
	in, out := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer putBuffer(in)
	defer putBuffer(out)
	body, err := encode((*in)[:0], q)
	if err != nil {
		return err
	}
	*in = body[:len(body):cap(body)]
	m.Body = body
	r, err := t.Call(ctx, m, (*out)[:0])
	if cap(r.Body) > 0 {
		*out = r.Body
	}
	if err != nil {
		return refusal(err, r.Body)
	}
	return decode(r.Body, p)
}

// encode appends the message to a buffer that has room for a frame.
func encode(b []byte, m proto.Message) ([]byte, error) {
	if encoder.Size(m) > ipc.MaxFrame {
		return nil, ipc.TooLarge
	}
	b, err := encoder.MarshalAppend(b, m)
	if err != nil {
		return nil, ipc.Malformed
	}
	return b, nil
}

// Decode reads a message's bytes as a service does, for those who watch a
// system from outside. It returns Malformed for bytes that are not the one
// encoding of a message of that type; then m is wiped.
func Decode(b []byte, m proto.Message) error { return decode(b, m) }

func decode(b []byte, m proto.Message) error {
	if err := decoder.Unmarshal(b, m); err != nil || hasUnknown(m.ProtoReflect()) || !canonical(b, m) {
		Wipe(m)
		return ipc.Malformed
	}
	return nil
}

// canonical says whether b is what encode makes of m. Other encodings of it have
// fields twice or out of their order, numbers that are not in their shortest
// form, or some that do not fit their fields and would be cut to size unseen.
func canonical(b []byte, m proto.Message) bool {
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	again, err := encode((*buffer)[:0], m)
	return err == nil && bytes.Equal(again, b)
}

// hasUnknown finds fields that the schema does not have, in nested messages as
// well: both sides ship together, so that such a field is a mistake or an
// attack.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// refusal adds to a code what the reply's body says, if it says anything.
func refusal(err error, body []byte) error {
	var code ipc.Code
	if !errors.As(err, &code) || len(body) == 0 {
		return err
	}
	var place FaultDetail
	var later LaterDetail
	switch {
	case (code == ipc.Damaged || code == ipc.IOError || code == ipc.RolledBack) && decode(body, &place) == nil:
		return &Fault{Code: code, File: place.File, Offset: place.Offset}
	case code == ipc.TryLater && decode(body, &later) == nil:
		return &Later{Seconds: later.Seconds}
	}
	return err
}

// Wipe zeroes every bytes field of a message, nested ones included.
func Wipe(m proto.Message) {
	if m != nil {
		wipe(m.ProtoReflect())
	}
}

func wipe(m protoreflect.Message) {
	if !m.IsValid() {
		return
	}
	clear(m.GetUnknown())
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
		case fd.IsList():
			wipeList(fd, v.List())
		case fd.Kind() == protoreflect.BytesKind:
			clear(v.Bytes())
		case fd.Message() != nil:
			wipe(v.Message())
		}
		return true
	})
}

func wipeList(fd protoreflect.FieldDescriptor, list protoreflect.List) {
	for i := range list.Len() {
		switch {
		case fd.Kind() == protoreflect.BytesKind:
			clear(list.Get(i).Bytes())
		case fd.Message() != nil:
			wipe(list.Get(i).Message())
		}
	}
}

// Mux finds the handler of a request by its opcode. Its zero value is ready.
type Mux struct {
	handlers [ipc.MaxOps]func(ctx context.Context, r *ipc.Request)
}

// message is a generated message type whose pointer is the message.
type message[T any] interface {
	*T
	proto.Message
}

// On registers the handler of an opcode. What it returns becomes the reply: its
// message with OK, or the code that its error is or wraps, and Unavailable for
// any other error. A *Fault keeps its place, a *Later its time. Once the reply is out, every bytes
// field of both messages is wiped: the handler copies what it keeps, and
// returns nothing that it still needs. A capability that comes along is closed
// before the handler runs, because it expects none.
func On[Q, P any, QM message[Q], PM message[P]](m *Mux, op uint16, h func(ctx context.Context, r *ipc.Request, q QM) (PM, error)) {
	OnObject(m, op, func(ctx context.Context, r *ipc.Request, q QM) (PM, error) {
		r.CloseMoved()
		return h(ctx, r, q)
	})
}

// OnObject is On for what may bring a memory object along: see Payload and
// Deliver. Whatever came is closed when the handler has ended.
func OnObject[Q, P any, QM message[Q], PM message[P]](m *Mux, op uint16, h func(ctx context.Context, r *ipc.Request, q QM) (PM, error)) {
	m.handlers[op] = func(ctx context.Context, r *ipc.Request) {
		q := QM(new(Q))
		if err := decode(r.Body, q); err != nil {
			Refuse(r, err)
			return
		}
		defer Wipe(q)
		p, err := h(ctx, r, q)
		if err != nil {
			Refuse(r, err)
			return
		}
		reply(r, p)
		Wipe(p)
	}
}

// Serve decodes, calls, encodes and replies. An opcode without a handler is
// Unsupported. What came along is closed in the end, a panic included: it must
// not fill the service's table.
func (m *Mux) Serve(ctx context.Context, r *ipc.Request) {
	defer r.CloseMoved()
	if r.Op >= ipc.MaxOps || m.handlers[r.Op] == nil {
		Refuse(r, ipc.Unsupported)
		return
	}
	m.handlers[r.Op](ctx, r)
}

func reply(r *ipc.Request, p proto.Message) {
	b := buffers.Get().(*[]byte)
	defer putBuffer(b)
	body, err := encode((*b)[:0], p)
	if err != nil {
		Refuse(r, ipc.TooLarge)
		return
	}
	*b = body
	send(r, ipc.OK, body)
}

// Refuse answers a request with the code that err is or wraps.
func Refuse(r *ipc.Request, err error) {
	code := ipc.Unavailable
	errors.As(err, &code)
	if code == ipc.OK {
		code = ipc.Unavailable
	}
	send(r, code, detail(err))
}

// detail is what a refusal says beside its code: nothing where there is nothing,
// or where it does not fit a frame.
func detail(err error) []byte {
	var place *Fault
	var later *Later
	var m proto.Message
	switch {
	case errors.As(err, &place):
		m = &FaultDetail{File: place.File, Offset: place.Offset}
	case errors.As(err, &later):
		m = &LaterDetail{Seconds: later.Seconds}
	default:
		return nil
	}
	body, err := encode(nil, m)
	if err != nil {
		return nil
	}
	return body
}

// send replies. That the caller left, or that the session was voided meanwhile,
// is nothing that a service could do anything about.
func send(r *ipc.Request, code ipc.Code, body []byte) {
	_ = r.Reply(code, body)
}
