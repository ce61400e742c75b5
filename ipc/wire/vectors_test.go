package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
)

// requestVector is one request of tests/vectors/<service>.json.
type requestVector struct {
	Name, Why, Bytes, Expect string
	Op                       uint16
	Fields                   map[string]any
}

func readRequests(t *testing.T, service string) []requestVector {
	t.Helper()
	text, err := os.ReadFile("../../tests/vectors/" + service + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Requests []requestVector }
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v.Requests
}

// received is what a handler got.
type received struct {
	again  []byte // the message, encoded
	fields map[string]any
}

// TestRequestVectors sends each vector through a kernel to the operation's
// handler: what is good arrives with the vector's fields and encodes to the same
// bytes, and whatever is refused reaches no handler.
func TestRequestVectors(t *testing.T) {
	var got *received
	for i, m := range muxes(func(q proto.Message) {
		again, err := encode(nil, q)
		if err != nil {
			t.Error(err)
		}
		got = &received{again, fieldsOf(q.ProtoReflect())}
	}) {
		t.Run(muxed[i], func(t *testing.T) {
			p := newPeersOf(t, rig.NewSeeded(t, 1, nil), ipc.MaxOps-1, &service{*m})
			good, bad := make(map[uint16]int), make(map[uint16]int)
			for _, v := range readRequests(t, muxed[i]) {
				body, err := hex.DecodeString(v.Bytes)
				if err != nil {
					t.Fatal(err)
				}
				got = nil
				answer, err := p.raw(v.Op, body)
				if v.Expect == ipc.OK.String() {
					good[v.Op]++
					checkReceived(t, &v, body, got, err)
					continue
				}
				bad[v.Op]++
				var code ipc.Code
				if !errors.As(err, &code) || code.String() != v.Expect || got != nil || len(answer) != 0 {
					t.Errorf("%s: %v with %x, want %s (%s); handled: %v", v.Name, err, answer, v.Expect, v.Why, got != nil)
				}
			}
			for op, handler := range m.handlers {
				if op := uint16(op); handler != nil && (good[op] < 1 || bad[op] < 5) {
					t.Errorf("%s has %d good and %d bad vectors", OpName(muxed[i], op), good[op], bad[op])
				}
			}
		})
	}
}

func checkReceived(t *testing.T, v *requestVector, body []byte, got *received, err error) {
	t.Helper()
	switch {
	case err != nil || got == nil:
		t.Errorf("%s: %v, handled: %v (%s)", v.Name, err, got != nil, v.Why)
	case !bytes.Equal(got.again, body):
		t.Errorf("%s: %x encodes to %x", v.Name, body, got.again)
	case !reflect.DeepEqual(got.fields, v.Fields):
		t.Errorf("%s: read as %v, want %v", v.Name, got.fields, v.Fields)
	}
}

// fieldsOf is a message as the vectors write it: bytes in hexadecimal, numbers
// in decimal, fields that are absent left out.
func fieldsOf(m protoreflect.Message) map[string]any {
	fields := make(map[string]any)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !fd.IsList() {
			fields[string(fd.Name())] = valueOf(fd, v)
			return true
		}
		list := []any{}
		for i := range v.List().Len() {
			list = append(list, valueOf(fd, v.List().Get(i)))
		}
		fields[string(fd.Name())] = list
		return true
	})
	return fields
}

func valueOf(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return fieldsOf(v.Message())
	case protoreflect.BytesKind:
		return hex.EncodeToString(v.Bytes())
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.EnumKind:
		return json.Number(strconv.Itoa(int(v.Enum())))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return json.Number(strconv.FormatUint(v.Uint(), 10))
	}
	panic("wire: a kind of field that no request has")
}
