package main

import "strings"

// An operation is one row of the table of opcodes in docs/IPC.md, and a request
// for it with every field set.
type operation struct {
	op      uint16
	name    string
	request message
}

// Samples of what requests carry.
var (
	secretBytes = hexadecimal("correct horse battery")
	authToken   = hexadecimal(strings.Repeat("\xa5", 32))
	incarnation = hexadecimal("an incarnation's")
)

const sid = 1<<32 + 1

func credential(number uint64, name string, kind enum) field {
	return field{number, name, message{{1, "kind", kind}, {2, "secret", secretBytes}}}
}

func protector(number uint64, name string, id uint64) field {
	return field{number, name, message{{1, "id", id}, {2, "auth", authToken}}}
}

// one is a message of one field.
func one(name string, value any) message { return message{{1, name, value}} }

// A service is its name and operations.
type service struct {
	name       string
	operations []operation
}

var services = []service{
	{"rngd", []operation{{1, "Entropy", one("count", uint32(32))}}},
	{"statefsd", []operation{
		{1, "ReadFile", message{{1, "path", "state:/a/b"}, {2, "offset", uint64(300)}, {3, "length", uint32(7168)}}},
		{2, "ReplaceFile", message{{1, "path", "state:/a/b"}, {2, "data", hexadecimal("data")}}},
		{3, "AppendFile", message{{1, "path", "state:/a/b"}, {2, "offset", uint64(300)}, {3, "data", hexadecimal("data")}, {4, "sync", true}}},
		{4, "TruncateFile", message{{1, "path", "state:/a/b"}, {2, "size", uint64(300)}}},
		{5, "RenameFile", message{{1, "from", "state:/a/b"}, {2, "to", "state:/a/c"}}},
		{6, "RemoveFile", one("path", "state:/a/b")},
		{7, "ListFiles", message{{1, "prefix", "state:/a/"}, {2, "after", "state:/a/b"}}},
	}},
	{"policyd", []operation{
		{1, "Decide", message{{1, "subject", "keystored"}, {2, "action", "keystore.put"}, {3, "target", "notes"}}},
	}},
	{"identityd", []operation{
		{1, "CreateUser", message{{1, "user", "alice"}, credential(2, "credential", 1)}},
		{2, "ListUsers", nil},
		{3, "RemoveUser", message{{1, "user", "alice"}, credential(2, "credential", 1)}},
		{4, "SetCredential", message{{1, "user", "alice"}, credential(2, "have", 1), credential(3, "set", 2)}},
		{5, "StartSession", message{{1, "user", "alice"}, credential(2, "credential", 2)}},
		{6, "UnsealSession", message{{1, "sid", uint64(sid)}, credential(2, "credential", 1)}},
		{7, "LockSession", one("sid", uint64(sid))},
		{8, "EndSession", one("sid", uint64(sid))},
		{9, "ActiveSession", one("sid", uint64(sid))},
		{10, "IssueToken", message{{1, "sid", uint64(sid)}, {2, "app", "notes"}, {3, "holder", uint64(300)}, {4, "rights", uint32(255)}}},
		{11, "CreateRecovery", message{{1, "user", "alice"}, credential(2, "have", 3)}},
		{12, "RemoveCredential", message{{1, "user", "alice"}, credential(2, "have", 1), {3, "kind", enum(2)}, {4, "anyway", true}}},
		{13, "UninstallApp", message{{1, "sid", uint64(sid)}, {2, "app", "notes"}}},
		{14, "Rekey", message{{1, "user", "alice"}, {2, "password", hexadecimal("correct horse")}, {3, "pin", hexadecimal("271828")}, {4, "recovery", hexadecimal("000G-40R4")}}},
	}},
	{"keymintd", []operation{
		{1, "CreateRoot", message{{1, "user", "alice"}, {2, "incarnation", incarnation}, protector(3, "protector", 1)}},
		{2, "AddProtector", message{{1, "user", "alice"}, {2, "incarnation", incarnation}, protector(3, "have", 1), protector(4, "add", 2)}},
		{3, "KeepProtectors", message{{1, "user", "alice"}, {2, "incarnation", incarnation}, {3, "ids", []uint64{1, 2}}, protector(4, "have", 2)}},
		{4, "RemoveRoot", one("user", "alice")},
		{5, "UnsealKeys", message{protector(1, "protector", 1)}},
		{6, "SealKeys", one("sid", uint64(sid))},
		{7, "RemoveApp", nil},
		{8, "BeginRekey", message{{1, "ids", []uint64{1, 300}}, {2, "auths", hexadecimal("stretched bytes")}}},
		{9, "CommitRekey", nil},
		{16, "AppKey", message{{1, "create", true}, {2, "id_alone", true}}},
		{17, "SealRecord", message{{1, "sequence", uint64(300)}, {2, "kind", uint32(1)}, {3, "name", "greeting"}, {4, "value", hexadecimal("hello")}}},
		{18, "OpenRecord", message{{1, "sequence", uint64(300)}, {2, "kind", uint32(1)}, {3, "record", hexadecimal("sealed bytes")}}},
		{19, "SealSegment", message{{1, "header", hexadecimal("header")}, {2, "body", hexadecimal("body")}, {4, "next", true}}},
		{20, "OpenSegment", message{{1, "header", hexadecimal("header")}, {2, "sealed", hexadecimal("sealed bytes")}}},
		{21, "VaultID", nil},
		{22, "VaultEpoch", nil},
		{23, "ResealRecord", message{{1, "key_id", hexadecimal("a key's id")}, {2, "sequence", uint64(300)}, {3, "kind", uint32(1)}, {4, "record", hexadecimal("sealed bytes")}, {5, "size", uint32(300)}}},
		{32, "GenerateKey", message{{1, "name", "signer"}, {2, "purpose", enum(1)}, {3, "uses", uint32(3)}}},
		{33, "PublicKey", message{{1, "name", "signer"}, {2, "version", uint32(300)}}},
		{34, "Sign", message{{1, "name", "signer"}, {2, "message", hexadecimal("to be signed")}}},
		{35, "ListKeys", one("after", "signer")},
		{36, "DeleteKey", one("name", "signer")},
		{37, "WrapKey", message{{1, "name", "signer"}, {2, "detach", true}}},
		{38, "UnwrapKey", message{{1, "name", "signer"}, {2, "blob", hexadecimal("a wrapped key")}}},
		{39, "RotateKey", one("name", "signer")},
		{40, "RevokeKey", one("name", "signer")},
		{41, "SealData", message{{1, "associated", hexadecimal("about")}, {2, "data", hexadecimal("data")}}},
		{42, "UnsealData", message{{1, "associated", hexadecimal("about")}, {2, "sealed", hexadecimal("sealed data")}}},
	}},
	{"keystored", []operation{
		{1, "Put", message{{1, "name", "greeting"}, {2, "value", hexadecimal("hello")}}},
		{2, "Get", message{{1, "name", "greeting"}, {2, "room", uint32(65536)}}},
		{3, "Delete", one("name", "greeting")},
		{4, "List", one("after", "greeting")},
		{5, "OpenVault", one("create", true)},
		{6, "ForgetVault", one("user", "alice")},
		{8, "DropApp", nil},
		{9, "RekeyVault", nil},
	}},
}

// Limits of the kernel.
const (
	maxFrame = 8192
	lastOp   = 63
)

// serviceFiles are one file for each service.
func serviceFiles() []file {
	var all []file
	for _, s := range services {
		var vectors []object
		for _, o := range s.operations {
			vectors = append(vectors, o.valid()...)
			vectors = append(vectors, o.faulty()...)
		}
		if s.name == "keystored" {
			vectors = append(vectors, frameLimit(s.operations[0])...)
		}
		none := operation{lastOp, "none", nil}
		vectors = append(vectors, none.vector("no such operation", "the service has none of that number", nil, "unsupported"))
		all = append(all, file{s.name + ".json", nil, []part{{"requests", vectors}}})
	}
	return all
}

// vector is one request as bytes and what must come of it.
func (o operation) vector(name, why string, b []byte, expect string) object {
	return obj("name", o.name+": "+name, "why", why, "op", o.op, "bytes", hexadecimal(b), "expect", expect)
}

// ok is a request that is decoded.
func (o operation) ok(name, why string, m message) object {
	return o.vector(name, why, m.encode(), "ok").with("fields", m.fields())
}

// valid are requests that are decoded. Whether the service then does what is
// asked is another matter.
func (o operation) valid() []object {
	if len(o.request) == 0 {
		return []object{o.ok("empty", "the message has no fields", nil)}
	}
	all := []object{
		o.ok("every field", "fields in the order of their numbers, each in its shortest form", o.request),
		o.ok("no field", "a field that is absent has its default value", nil),
	}
	if n := len(o.request); n > 1 {
		all = append(all, o.ok("the last field alone", "each field may be absent", o.request[n-1:]))
	}
	if m, some := o.request.largest(); some {
		all = append(all, o.ok("largest numbers", "numbers use all of their bits", m))
	}
	if i := o.request.find(func(f field) bool { _, nested := f.value.(message); return nested }); i >= 0 {
		empty := message{{o.request[i].number, o.request[i].name, message{}}}
		all = append(all, o.ok("an empty message inside", "it is there, though it has no fields", empty))
	}
	return all
}

// largest is the message with the largest value in every field that has one.
func (m message) largest() (big message, some bool) {
	for _, f := range m {
		switch v := f.value.(type) {
		case uint64:
			f.value, some = uint64(1<<64-1), true
		case uint32:
			f.value, some = uint32(1<<32-1), true
		case enum:
			f.value, some = enum(1<<31-1), true // A reader of enumerations takes those that it does not know.
		case []uint64:
			f.value, some = []uint64{0, 1<<64 - 1}, true
		case message:
			inner, more := v.largest()
			f.value, some = inner, some || more
		}
		big = append(big, f)
	}
	return big, some
}

// find is the place of the first field of a kind, -1 without one.
func (m message) find(kind func(f field) bool) int {
	for i, f := range m {
		if kind(f) {
			return i
		}
	}
	return -1
}

// frameLimit are requests around the size of a frame.
func frameLimit(o operation) []object {
	value := func(n int) message { return message{o.request[0], {2, "value", hexadecimal(times('v', n))}} }
	room := maxFrame - len(o.request[0].encode()) - len(tag(2, bytesType)) - len(varint(maxFrame-100))
	return []object{
		o.ok("a full frame", "8,192 bytes are a frame; that the value is too large for a vault is the service's to say", value(room)),
		o.vector("a byte more than a frame", "a frame has 8,192 bytes at most; the kernel refuses it before the service sees it", value(room+1).encode(), "too large"),
	}
}
