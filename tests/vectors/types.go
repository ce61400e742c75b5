package vectors

// Vectors of the lists, as README.md describes them.

// Header is a vector of header.json's layout and refused.
type Header struct {
	Vector
	Src, Dst, Len uint32
	Ty, Flags     uint16
}

// Delivered is a vector of header.json's delivered.
type Delivered struct {
	Vector
	Op     uint16
	Len    int
	Moves  bool
	Header Hex
}

// Envelope is a vector of envelope.json. A request has no code.
type Envelope struct {
	Vector
	Nonce uint64
	Code  uint16
	Body  Hex
}

// RouteRequest is a vector of route.json's requests.
type RouteRequest struct {
	Vector
	Service     Hex
	Nonce, Echo uint32
}

// RouteAnswer is a vector of route.json's answers.
type RouteAnswer struct {
	Vector
	Status            uint8
	Send, Recv, Nonce uint32
}

// TokenRow is a row of token.json.
type TokenRow struct {
	Vector
	AppID, Dead                                      string
	Body, MAC                                        Hex
	Rights, Epoch, SID, App, Serial, Holder, Expires uint64
}

// Sealed is the row's whole token, in hexadecimal.
func (r TokenRow) Sealed() string { return r.Body.String() + r.MAC.String() }

// Token is a vector of token.json's vectors.
type Token struct {
	Vector
	Token      Hex
	Need       string
	Holder, At uint64
}

// KS1Request is a vector of ks1.json's requests.
type KS1Request struct {
	Vector
	Op                 uint8
	Key, Value, Answer Hex
}

// KS1Response is a vector of ks1.json's responses.
type KS1Response struct {
	Vector
	Op     uint8
	Status string
	Value  Hex
}

// Guesses is a vector of guesses.json's files: a good one has rows, another the
// offset of its fault.
type Guesses struct {
	Vector
	Key, Incarnations, Failures Hex
	At                          int64
}

// GuessRow is a vector of guesses.json's rows.
type GuessRow struct {
	Vector
	Key, User Hex
	Row       int
}

// Request is a vector of a service's requests. Its fields are as the file has
// them, numbers as json.Number.
type Request struct {
	Vector
	Op     uint16
	Fields map[string]any
}
