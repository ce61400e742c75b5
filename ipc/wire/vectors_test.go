package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/rig"
	"nexus.internal/os/tests/vectors"
)

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
	all := muxes(func(q proto.Message) {
		again, err := encode(nil, q)
		if err != nil {
			t.Error(err)
		}
		got = &received{again, fieldsOf(q.ProtoReflect())}
	})
	good, bad := make([]map[uint16]int, len(all)), make([]map[uint16]int, len(all))
	var runs []vectors.Runner
	for i, m := range all {
		good[i], bad[i] = make(map[uint16]int), make(map[uint16]int)
		p := newPeersOf(t, rig.NewSeeded(t, 1, nil), ipc.MaxOps-1, &service{*m})
		runs = append(runs, vectors.Decode(muxed[i]+".json", "requests", func(t *testing.T, v vectors.Request) ([]byte, string) {
			got = nil
			answer, err := p.raw(v.Op, v.Bytes)
			if err == nil && got != nil {
				good[i][v.Op]++
				if !reflect.DeepEqual(got.fields, v.Fields) {
					t.Errorf("read as %v, want %v", got.fields, v.Fields)
				}
				return got.again, vectors.OK
			}
			bad[i][v.Op]++
			var code ipc.Code
			if !errors.As(err, &code) || got != nil || len(answer) != 0 {
				t.Errorf("%v with %x; handled: %v", err, answer, got != nil)
			}
			return nil, code.String()
		}))
	}
	vectors.Run(t, "ipc/wire", runs...)
	for i, m := range all {
		for op, handler := range m.handlers {
			if op := uint16(op); handler != nil && (good[i][op] < 1 || bad[i][op] < 5) {
				t.Errorf("%s has %d good and %d bad vectors", OpName(muxed[i], op), good[i][op], bad[i][op])
			}
		}
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
