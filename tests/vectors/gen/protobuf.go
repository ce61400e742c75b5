package main

// Wire types of protobuf.
const (
	varintType = 0
	bytesType  = 2
	startGroup = 3
	endGroup   = 4
	fixed32    = 5
	noType     = 7 // There is none of that number.
)

// varint is a number in seven bits a byte, the lowest first.
func varint(n uint64) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// longVarint is the same number with a byte more than it needs.
func longVarint(n uint64) []byte {
	b := varint(n)
	b[len(b)-1] |= 0x80
	return append(b, 0)
}

// tag begins a field.
func tag(number, wireType uint64) []byte { return varint(number<<3 | wireType) }

// sized is a field of bytes, with their length.
func sized(number uint64, content []byte) []byte {
	return join(tag(number, bytesType), varint(uint64(len(content))), content)
}

// A message is a message's fields, in the order of their numbers.
type message []field

// A field has one of these values: string, hexadecimal (bytes), uint64, uint32,
// enum, bool, []uint64 (packed), message.
type field struct {
	number uint64
	name   string
	value  any
}

// enum is the number of an enumeration's value.
type enum uint32

// encode is the only encoding of the message.
func (m message) encode() []byte { return join(m.parts()...) }

// parts are the encodings of the single fields.
func (m message) parts() [][]byte {
	var parts [][]byte
	for _, f := range m {
		parts = append(parts, f.encode())
	}
	return parts
}

func (f field) encode() []byte {
	if f.wireType() == varintType {
		return join(tag(f.number, varintType), f.payload())
	}
	return sized(f.number, f.payload())
}

func (f field) wireType() uint64 {
	switch f.value.(type) {
	case uint64, uint32, enum, bool:
		return varintType
	}
	return bytesType
}

// payload is what follows the tag and the length.
func (f field) payload() []byte {
	switch v := f.value.(type) {
	case string:
		return []byte(v)
	case hexadecimal:
		return v
	case uint64:
		return varint(v)
	case uint32:
		return varint(uint64(v))
	case enum:
		return varint(uint64(v))
	case bool:
		if v {
			return []byte{1}
		}
		return []byte{0}
	case []uint64:
		var b []byte
		for _, n := range v {
			b = append(b, varint(n)...)
		}
		return b
	case message:
		return v.encode()
	}
	panic("a field has a value of a kind that protobuf does not have")
}

// fields is what a reader finds in the message, for the file.
func (m message) fields() object {
	o := object{}
	for _, f := range m {
		if inner, ok := f.value.(message); ok {
			o = append(o, member{f.name, inner.fields()})
			continue
		}
		o = append(o, member{f.name, f.value})
	}
	return o
}
