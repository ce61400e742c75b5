package main

// A fault makes one mistake in a good request. It answers nil if the request
// has nothing to make it in.
type fault struct {
	name, why string
	make      func(m message) []byte
}

// faulty are an operation's requests with one fault each.
func (o operation) faulty() []object {
	var all []object
	for _, f := range faults {
		if b := f.make(o.request); b != nil {
			all = append(all, o.vector(f.name, f.why, b, "malformed"))
		}
	}
	return all
}

// stray is a field that no schema has.
var stray = join(tag(99, varintType), varint(1))

var faults = []fault{
	{"an unknown field", "both sides ship together: a field that the schema does not have is a mistake or an attack",
		func(m message) []byte { return join(m.encode(), stray) }},
	{"an unknown group", "groups are fields too, and no schema has one",
		func(m message) []byte { return join(m.encode(), tag(99, startGroup), tag(99, endGroup)) }},
	{"a trailing byte", "0 begins no field: there is none of number 0",
		func(m message) []byte { return join(m.encode(), []byte{0}) }},
	{"a tag that does not end", "the last byte of a number has its highest bit clear",
		func(m message) []byte { return join(m.encode(), []byte{0x88}) }},
	{"a wire type that there is not", "7 is none",
		func(m message) []byte { return join(m.encode(), tag(1, noType)) }},
	{"truncated", "the last byte is missing", truncated},
	{"wrong wire type", "the first field has four bytes where the schema has a number, or bytes with a length",
		atFirst(func(f field) []byte { return join(tag(f.number, fixed32), le32(1)) })},
	{"a long tag", "the first tag has a byte more than it needs",
		atFirst(func(f field) []byte { return join(longVarint(f.number<<3|f.wireType()), f.encode()[1:]) })},
	{"a field twice", "each field is there once; that the last one counts is for others",
		atFirst(func(f field) []byte { return join(f.encode(), f.encode()) })},
	{"a default value", "a field that has its default value is absent",
		at(isPlain, func(f field) []byte { return join(tag(f.number, f.wireType()), []byte{0}) })},
	{"fields out of order", "fields are in the order of their numbers", swapped},
	{"a long length", "the length has a byte more than it needs", at(isSized, func(f field) []byte {
		return join(tag(f.number, bytesType), longVarint(uint64(len(f.payload()))), f.payload())
	})},
	{"a length of 2 GiB", "the length is beyond the end of the frame",
		at(isSized, func(f field) []byte { return join(tag(f.number, bytesType), varint(1<<31), f.payload()) })},
	{"a long number", "a number has a byte more than it needs", at(isNumber, func(f field) []byte {
		b := f.payload()
		b[len(b)-1] |= 0x80
		return join(tag(f.number, varintType), b, []byte{0})
	})},
	{"a number of 65 bits", "numbers have 64 bits at most",
		at(isNumber, func(f field) []byte { return join(tag(f.number, varintType), times(0xff, 9), []byte{2}) })},
	{"a number of 33 bits", "the schema's number has 32; the upper one is not dropped",
		at(isNarrow, func(f field) []byte { return join(tag(f.number, varintType), varint(1<<33-1)) })},
	{"a bool of 2", "true is 1",
		at(isBool, func(f field) []byte { return join(tag(f.number, varintType), []byte{2}) })},
	{"not packed", "a list of numbers is one field with a length", at(isList, unpacked)},
	{"invalid UTF-8", "no character begins with ff",
		at(isText, func(f field) []byte { return sized(f.number, []byte("a\xff")) })},
	{"a surrogate", "half of a UTF-16 pair is no character",
		at(isText, func(f field) []byte { return sized(f.number, []byte("\xed\xa0\x80")) })},
	{"an overlong character", "a character has its shortest form",
		at(isText, func(f field) []byte { return sized(f.number, []byte("\xc0\xaf")) })},
	{"an unknown field inside", "messages inside of messages are decoded as strictly",
		at(isNested, func(f field) []byte { return sized(f.number, join(f.payload(), stray)) })},
	{"a field twice inside", "messages inside of messages are decoded as strictly", at(isNested, func(f field) []byte {
		return sized(f.number, join(f.value.(message)[0].encode(), f.payload()))
	})},
	{"fields out of order inside", "messages inside of messages are decoded as strictly",
		at(isNested, func(f field) []byte { return sized(f.number, swapped(f.value.(message))) })},
	{"truncated inside", "the inner message ends before its last field does",
		at(isNested, func(f field) []byte { return sized(f.number, truncated(f.value.(message))) })},
	{"a message in two pieces", "each field is there once; that two pieces are merged is for others", at(isNested, func(f field) []byte {
		inner := f.value.(message)
		return join(sized(f.number, inner[:1].encode()), sized(f.number, inner[1:].encode()))
	})},
}

// at makes a fault in the first field of a kind.
func at(kind func(f field) bool, spoil func(f field) []byte) func(m message) []byte {
	return func(m message) []byte {
		i := m.find(kind)
		if i < 0 {
			return nil
		}
		parts := m.parts()
		parts[i] = spoil(m[i])
		return join(parts...)
	}
}

// atFirst makes a fault in the first field.
func atFirst(spoil func(f field) []byte) func(m message) []byte {
	return at(func(field) bool { return true }, spoil)
}

func truncated(m message) []byte {
	b := m.encode()
	if len(b) == 0 {
		return nil
	}
	return b[:len(b)-1]
}

// swapped has the last two fields in the wrong order.
func swapped(m message) []byte {
	parts := m.parts()
	n := len(parts)
	if n < 2 {
		return nil
	}
	parts[n-2], parts[n-1] = parts[n-1], parts[n-2]
	return join(parts...)
}

// unpacked is a list with a tag before each number.
func unpacked(f field) []byte {
	var b []byte
	for _, n := range f.value.([]uint64) {
		b = join(b, tag(f.number, varintType), varint(n))
	}
	return b
}

// Kinds of fields.

func isNumber(f field) bool { return f.wireType() == varintType }
func isSized(f field) bool  { return f.wireType() == bytesType }
func isPlain(f field) bool  { return !isNested(f) }

func isNarrow(f field) bool {
	_, ok := f.value.(uint32)
	return ok
}

func isBool(f field) bool {
	_, ok := f.value.(bool)
	return ok
}

func isList(f field) bool {
	_, ok := f.value.([]uint64)
	return ok
}

func isText(f field) bool {
	_, ok := f.value.(string)
	return ok
}

func isNested(f field) bool {
	_, ok := f.value.(message)
	return ok
}
