package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"nexus.internal/os/ipc"
)

// types are all message types of the schemas, in the order of their names.
func types() (all []protoreflect.MessageType) {
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if mt.Descriptor().ParentFile().Package() == "nexus.os.v1" {
			all = append(all, mt)
		}
		return true
	})
	for i := range all { // The registry's order is a map's.
		for j := i; j > 0 && all[j].Descriptor().FullName() < all[j-1].Descriptor().FullName(); j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}

// secretText is what filled messages hold in every bytes field.
const secretText = "a secret of thirty-two bytes...."

// fill sets every field of a message, nested ones included.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range 2 {
				if fd.Message() != nil {
					fill(list.AppendMutable().Message())
				} else {
					list.Append(value(fd))
				}
			}
		case fd.Message() != nil:
			fill(m.Mutable(fd).Message())
		default:
			m.Set(fd, value(fd))
		}
	}
}

func value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(secretText))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(math.MaxUint64)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(math.MinInt64)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(math.MaxUint32)
	}
	panic("wire: a kind of field that the tests do not know")
}

func filled(mt protoreflect.MessageType) proto.Message {
	m := mt.New()
	fill(m)
	return m.Interface()
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := encode(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryMessageTravels encodes and decodes each message with every field set.
func TestEveryMessageTravels(t *testing.T) {
	all := types()
	if len(all) < 60 {
		t.Fatalf("only %d message types", len(all))
	}
	for _, mt := range all {
		m, back := filled(mt), mt.New().Interface()
		b := encoded(t, m)
		if err := decode(b, back); err != nil || !proto.Equal(m, back) {
			t.Errorf("%s: %v", mt.Descriptor().Name(), err)
		}
		if again := encoded(t, back); !bytes.Equal(b, again) {
			t.Errorf("%s encodes differently the second time", mt.Descriptor().Name())
		}
	}
}

// TestDecodeIsStrict damages the encoding of every message in every way that
// the schema can tell.
func TestDecodeIsStrict(t *testing.T) {
	for _, mt := range types() {
		name, good := mt.Descriptor().Name(), encoded(t, filled(mt))
		refused := func(what string, b []byte) {
			t.Helper()
			m := mt.New().Interface()
			if err := decode(b, m); !errors.Is(err, ipc.Malformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for n := 1; n < len(good); n++ {
			if m := mt.New().Interface(); decode(good[:n], m) == nil && !bytes.Equal(encoded(t, m), good[:n]) {
				t.Errorf("%s: a truncation to %d bytes reads as something else", name, n)
			}
		}
		refused("an unknown field behind", append(bytes.Clone(good), unknown...))
		refused("an unknown field before", append(bytes.Clone(unknown), good...))
		refused("an unknown group", slices.Concat(good, key(99, 3), key(99, 4)))
		refused("a trailing zero", append(bytes.Clone(good), 0))
		refused("trailing rubbish", append(bytes.Clone(good), 0xff, 0xff, 0xff))
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			refused("field "+string(fd.Name())+" of the wrong type", append(key(fd.Number(), 5), 7, 0, 0, 0))
			switch {
			case fd.Kind() == protoreflect.StringKind:
				refused("invalid UTF-8 in "+string(fd.Name()), field(fd.Number(), []byte("a\xff")))
				refused("a surrogate in "+string(fd.Name()), field(fd.Number(), []byte("\xed\xa0\x80")))
			case fd.Message() != nil:
				refused("an unknown field inside of "+string(fd.Name()), field(fd.Number(), unknown))
			}
		}
	}
}

// key is the start of a field: its number and its wire type, of which 0 is a
// varint, 2 bytes with their length, 3 and 4 the ends of a group, 5 four bytes.
func key(number protoreflect.FieldNumber, wireType uint64) []byte {
	return binary.AppendUvarint(nil, uint64(number)<<3|wireType)
}

// field is a field of bytes.
func field(number protoreflect.FieldNumber, content []byte) []byte {
	return append(binary.AppendUvarint(key(number, 2), uint64(len(content))), content...)
}

// unknown is a field that no schema has.
var unknown = append(key(99, 0), 1)

// TestSchemasAreFlatEnough: what decode and Wipe walk through is all there is.
func TestSchemasAreFlatEnough(t *testing.T) {
	for _, mt := range types() {
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			if fd.IsMap() || fd.IsExtension() || fd.Kind() == protoreflect.GroupKind || fd.IsList() && fd.Message() != nil {
				t.Errorf("%s has a map, an extension, a group or a list of messages: %s", mt.Descriptor().Name(), fd.Name())
			}
		}
	}
}

// bytesOf collects the bytes fields of a message, nested ones included.
func bytesOf(m protoreflect.Message) (all [][]byte) {
	if u := m.GetUnknown(); len(u) > 0 {
		all = append(all, u)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList():
			for i := range v.List().Len() {
				if fd.Message() != nil {
					all = append(all, bytesOf(v.List().Get(i).Message())...)
				} else if fd.Kind() == protoreflect.BytesKind {
					all = append(all, v.List().Get(i).Bytes())
				}
			}
		case fd.Message() != nil:
			all = append(all, bytesOf(v.Message())...)
		case fd.Kind() == protoreflect.BytesKind:
			all = append(all, v.Bytes())
		}
		return true
	})
	return all
}

// TestWipe clears the bytes fields of every message.
func TestWipe(t *testing.T) {
	some := 0
	for _, mt := range types() {
		m := filled(mt)
		m.ProtoReflect().SetUnknown([]byte(secretText))
		all := bytesOf(m.ProtoReflect())
		some += len(all)
		Wipe(m)
		for _, b := range all {
			if len(b) != len(secretText) || !bytes.Equal(b, make([]byte, len(b))) {
				t.Errorf("%s: %q is left", mt.Descriptor().Name(), b)
			}
		}
	}
	if some < 80 {
		t.Errorf("only %d fields were there to wipe", some)
	}
	Wipe(nil)
	Wipe((*PutRequest)(nil))
	Wipe(&StartSessionRequest{User: "alice"})
}

// TestOneEncoding: what means the same in other bytes of the same number is
// refused, too. Everything else that protobuf takes has another length.
func TestOneEncoding(t *testing.T) {
	for _, c := range []struct {
		what  string
		into  proto.Message
		order []byte
	}{
		{"fields in another order", new(PutRequest), []byte{2<<3 | 2, 1, 'v', 1<<3 | 2, 1, 'n'}},
		{"two numbers that are not packed", new(KeepProtectorsRequest), []byte{3 << 3, 1, 3 << 3, 2}},
		{"one that is not packed, in a longer form", new(KeepProtectorsRequest), []byte{3 << 3, 0x81, 0}},
		{"a nested message before what stands before it", new(CreateUserRequest), []byte{2<<3 | 2, 2, 1 << 3, 1, 1<<3 | 2, 1, 'u'}},
	} {
		if err := decoder.Unmarshal(c.order, c.into); err != nil || encoder.Size(c.into) != len(c.order) {
			t.Fatalf("%s: protobuf itself refuses it, so that it shows nothing: %v", c.what, err)
		}
		if err := Decode(c.order, c.into); !errors.Is(err, ipc.Malformed) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestDecodeLimit: no frame is longer, whatever it is a message of.
func TestDecodeLimit(t *testing.T) {
	overhead := len(encoded(t, &GetReply{Value: make([]byte, ipc.MaxFrame-100)})) - (ipc.MaxFrame - 100)
	for n, wanted := range map[int]error{
		ipc.MaxFrame - 1: nil, ipc.MaxFrame: nil, ipc.MaxFrame + 1: ipc.Malformed,
	} {
		b, err := encoder.Marshal(&GetReply{Value: make([]byte, n-overhead)})
		if err != nil || len(b) != n {
			t.Fatal(len(b), err)
		}
		if err := Decode(b, new(GetReply)); !errors.Is(err, wanted) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestFailedDecodeIsWiped: what was read before the fault was found is wiped.
func TestFailedDecodeIsWiped(t *testing.T) {
	b := encoded(t, &PutRequest{Name: "n", Value: []byte(secretText)})
	b = append(b, unknown...)
	var q PutRequest
	if err := decode(b, &q); !errors.Is(err, ipc.Malformed) {
		t.Fatal(err)
	}
	if bytes.Contains(q.Value, []byte("secret")) {
		t.Errorf("%q is left", q.Value)
	}
}

func TestEncodeLimits(t *testing.T) {
	overhead := len(encoded(t, &GetReply{Value: make([]byte, ipc.MaxFrame-100)})) - (ipc.MaxFrame - 100)
	for n, wanted := range map[int]error{
		ipc.MaxFrame - overhead - 1: nil, ipc.MaxFrame - overhead: nil, ipc.MaxFrame - overhead + 1: ipc.TooLarge, 1 << 20: ipc.TooLarge,
	} {
		b, err := encode(make([]byte, 0, ipc.MaxFrame), &GetReply{Value: make([]byte, n)})
		if !errors.Is(err, wanted) || err == nil && len(b) != n+overhead || cap(b) > ipc.MaxFrame {
			t.Errorf("%d bytes: %d, %v", n, len(b), err)
		}
	}
	if _, err := encode(nil, &PutRequest{Name: "\xff"}); !errors.Is(err, ipc.Malformed) {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

// TestBuffersAreWiped: what goes back to the pool is blank, whatever its length.
func TestBuffersAreWiped(t *testing.T) {
	b := append(make([]byte, 0, ipc.MaxFrame), secretText...)
	whole := b[:cap(b)]
	copy(whole[5000:], secretText)
	b = b[:3]
	putBuffer(&b)
	if !bytes.Equal(whole, make([]byte, len(whole))) || len(b) != 0 {
		t.Error("a pooled buffer is not blank")
	}
}

// serve registers a handler of a request type, which tells seen what it got.
func serve[Q, P any, QM message[Q], PM message[P]](m *Mux, op uint16, seen func(proto.Message)) {
	On(m, op, func(_ context.Context, _ *ipc.Request, q QM) (PM, error) {
		seen(q)
		return PM(new(P)), nil
	})
}

// muxed are the services in the order of muxes.
var muxed = []string{"rngd", "statefsd", "policyd", "identityd", "keymintd", "keystored"}

// muxes are one multiplexer for each service, with all of its operations.
func muxes(seen func(proto.Message)) []*Mux {
	var rng, state, policy, identity, mint, store Mux
	serve[EntropyRequest, EntropyReply](&rng, OpEntropy, seen)
	serve[ReadFileRequest, ReadFileReply](&state, OpReadFile, seen)
	serve[ReplaceFileRequest, ReplaceFileReply](&state, OpReplaceFile, seen)
	serve[AppendFileRequest, AppendFileReply](&state, OpAppendFile, seen)
	serve[TruncateFileRequest, TruncateFileReply](&state, OpTruncateFile, seen)
	serve[RenameFileRequest, RenameFileReply](&state, OpRenameFile, seen)
	serve[RemoveFileRequest, RemoveFileReply](&state, OpRemoveFile, seen)
	serve[ListFilesRequest, ListFilesReply](&state, OpListFiles, seen)
	serve[DecideRequest, DecideReply](&policy, OpDecide, seen)
	serve[CreateUserRequest, CreateUserReply](&identity, OpCreateUser, seen)
	serve[ListUsersRequest, ListUsersReply](&identity, OpListUsers, seen)
	serve[RemoveUserRequest, RemoveUserReply](&identity, OpRemoveUser, seen)
	serve[SetCredentialRequest, SetCredentialReply](&identity, OpSetCredential, seen)
	serve[StartSessionRequest, StartSessionReply](&identity, OpStartSession, seen)
	serve[UnsealSessionRequest, UnsealSessionReply](&identity, OpUnsealSession, seen)
	serve[LockSessionRequest, LockSessionReply](&identity, OpLockSession, seen)
	serve[EndSessionRequest, EndSessionReply](&identity, OpEndSession, seen)
	serve[ActiveSessionRequest, ActiveSessionReply](&identity, OpActiveSession, seen)
	serve[IssueTokenRequest, IssueTokenReply](&identity, OpIssueToken, seen)
	serve[CreateRecoveryRequest, CreateRecoveryReply](&identity, OpCreateRecovery, seen)
	serve[RemoveCredentialRequest, RemoveCredentialReply](&identity, OpRemoveCredential, seen)
	serve[UninstallAppRequest, UninstallAppReply](&identity, OpUninstallApp, seen)
	serve[RekeyRequest, RekeyReply](&identity, OpRekey, seen)
	serve[CreateRootRequest, CreateRootReply](&mint, OpCreateRoot, seen)
	serve[AddProtectorRequest, AddProtectorReply](&mint, OpAddProtector, seen)
	serve[KeepProtectorsRequest, KeepProtectorsReply](&mint, OpKeepProtectors, seen)
	serve[RemoveRootRequest, RemoveRootReply](&mint, OpRemoveRoot, seen)
	serve[UnsealKeysRequest, UnsealKeysReply](&mint, OpUnsealKeys, seen)
	serve[SealKeysRequest, SealKeysReply](&mint, OpSealKeys, seen)
	serve[RemoveAppRequest, RemoveAppReply](&mint, OpRemoveApp, seen)
	serve[BeginRekeyRequest, BeginRekeyReply](&mint, OpBeginRekey, seen)
	serve[CommitRekeyRequest, CommitRekeyReply](&mint, OpCommitRekey, seen)
	serve[VaultEpochRequest, VaultEpochReply](&mint, OpVaultEpoch, seen)
	serve[ResealRecordRequest, ResealRecordReply](&mint, OpResealRecord, seen)
	serve[AppKeyRequest, AppKeyReply](&mint, OpAppKey, seen)
	serve[SealRecordRequest, SealRecordReply](&mint, OpSealRecord, seen)
	serve[OpenRecordRequest, OpenRecordReply](&mint, OpOpenRecord, seen)
	serve[SealSegmentRequest, SealSegmentReply](&mint, OpSealSegment, seen)
	serve[OpenSegmentRequest, OpenSegmentReply](&mint, OpOpenSegment, seen)
	serve[VaultIDRequest, VaultIDReply](&mint, OpVaultID, seen)
	serve[GenerateKeyRequest, GenerateKeyReply](&mint, OpGenerateKey, seen)
	serve[PublicKeyRequest, PublicKeyReply](&mint, OpPublicKey, seen)
	serve[SignRequest, SignReply](&mint, OpSign, seen)
	serve[ListKeysRequest, ListKeysReply](&mint, OpListKeys, seen)
	serve[DeleteKeyRequest, DeleteKeyReply](&mint, OpDeleteKey, seen)
	serve[WrapKeyRequest, WrapKeyReply](&mint, OpWrapKey, seen)
	serve[UnwrapKeyRequest, UnwrapKeyReply](&mint, OpUnwrapKey, seen)
	serve[RotateKeyRequest, RotateKeyReply](&mint, OpRotateKey, seen)
	serve[RevokeKeyRequest, RevokeKeyReply](&mint, OpRevokeKey, seen)
	serve[SealDataRequest, SealDataReply](&mint, OpSealData, seen)
	serve[UnsealDataRequest, UnsealDataReply](&mint, OpUnsealData, seen)
	serve[PutRequest, PutReply](&store, OpPut, seen)
	serve[GetRequest, GetReply](&store, OpGet, seen)
	serve[DeleteRequest, DeleteReply](&store, OpDelete, seen)
	serve[ListRequest, ListReply](&store, OpList, seen)
	serve[OpenVaultRequest, OpenVaultReply](&store, OpOpenVault, seen)
	serve[ForgetVaultRequest, ForgetVaultReply](&store, OpForgetVault, seen)
	serve[DropAppRequest, DropAppReply](&store, OpDropApp, seen)
	serve[RekeyVaultRequest, RekeyVaultReply](&store, OpRekeyVault, seen)
	return []*Mux{&rng, &state, &policy, &identity, &mint, &store}
}

// TestOpcodesAreDistinct: no two operations of one service share a number, and
// every request type has one.
func TestOpcodesAreDistinct(t *testing.T) {
	registered, requests := 0, 0
	for _, m := range muxes(func(proto.Message) {}) {
		for _, h := range m.handlers {
			if h != nil {
				registered++
			}
		}
	}
	for _, mt := range types() {
		if name := mt.Descriptor().Name(); len(name) > 7 && name[len(name)-7:] == "Request" {
			requests++
		}
	}
	if registered != requests {
		t.Errorf("%d operations for %d request types", registered, requests)
	}
}

// FuzzMux gives every operation of every service any bytes as a request: no
// panic, and an opcode that there is not reaches no handler.
func FuzzMux(f *testing.F) {
	for i, mt := range types() {
		b, err := encode(nil, filled(mt))
		if err != nil {
			f.Fatal(err)
		}
		for service := range 6 {
			f.Add(uint8(service), uint16(i%ipc.MaxOps), b)
		}
	}
	f.Add(uint8(0), uint16(ipc.MaxOps), []byte{})
	f.Add(uint8(0), uint16(0xffff), []byte{0xff})
	seen := 0
	all := muxes(func(proto.Message) { seen++ })
	f.Fuzz(func(t *testing.T, service uint8, op uint16, body []byte) {
		if len(body) > ipc.MaxFrame {
			return // The kernel delivers none.
		}
		m := all[int(service)%len(all)]
		before := seen
		m.Serve(context.Background(), &ipc.Request{Op: op, Body: body})
		known := op < ipc.MaxOps && m.handlers[op] != nil
		if seen != before && !known {
			t.Errorf("opcode %d reached a handler", op)
		}
	})
}

// FuzzDecode reads any bytes as a message of every type: what is accepted has
// no unknown field and encodes to the same bytes, and wiping leaves none.
func FuzzDecode(f *testing.F) {
	kinds := types()
	for i, mt := range kinds {
		b, err := encode(nil, filled(mt))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) { decodeAny(t, kinds[int(kind)%len(kinds)], body) })
}

// decodeAny decodes bytes as one message type: what is accepted has no unknown
// fields anywhere and encodes to the same bytes.
func decodeAny(t *testing.T, mt protoreflect.MessageType, body []byte) {
	m, back := mt.New().Interface(), mt.New().Interface()
	err := decode(body, m)
	if err != nil {
		if !errors.Is(err, ipc.Malformed) {
			t.Errorf("%s: %v", mt.Descriptor().Name(), err)
		}
		return
	}
	if hasUnknown(m.ProtoReflect()) {
		t.Errorf("%s: unknown fields in %x", mt.Descriptor().Name(), body)
	}
	b, err := encode(nil, m)
	if err != nil || !bytes.Equal(b, body) || decode(b, back) != nil || !proto.Equal(m, back) {
		t.Errorf("%s: %x does not travel: %x, %v", mt.Descriptor().Name(), body, b, err)
	}
	all := bytesOf(m.ProtoReflect())
	Wipe(m)
	for _, x := range all {
		if !bytes.Equal(x, make([]byte, len(x))) {
			t.Errorf("%s: %x was not wiped", mt.Descriptor().Name(), x)
		}
	}
}
