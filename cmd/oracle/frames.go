package oracle

import (
	"encoding/hex"
	"strconv"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc/wire"
)

// doors are the words of `send` for what every app can call.
var doors = map[string]string{"store": boot.KeyStoreD, "keys": boot.KeyMintD}

// frame is the operation that `send USER/APP TO OP HEX` is, nil if it is none
// or one that neither changes nor shows what a vault holds. Bytes that do not
// decode are nothing: the service refuses them. So is what carries a token that
// is not the app's. A slot's number is not followed: scripts name the slots that
// an app was handed.
func (s *step) frame() *operation {
	if s.forged() {
		return nil
	}
	w := s.words
	service, known := doors[w[2]]
	code, named := wire.OpCode(service, w[3])
	if n, err := strconv.ParseUint(w[3], 10, 16); err == nil && !named {
		code, named = uint16(n), true
	}
	body, err := hex.DecodeString(w[4])
	if !known || !named || err != nil {
		return nil
	}
	op := keysFrame(code, body)
	if service == boot.KeyStoreD {
		op = storeFrame(code, body)
	}
	if op != nil {
		op.app, op.raw = s.app, true
	}
	return op
}

// storeFrame is a request to keystored.
func storeFrame(code uint16, body []byte) *operation {
	switch code {
	case wire.OpPut:
		if q := new(wire.PutRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opPut, name: q.Name, value: string(q.Value)}
		}
	case wire.OpGet:
		if q := new(wire.GetRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opGet, name: q.Name}
		}
	case wire.OpDelete:
		if q := new(wire.DeleteRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opDelete, name: q.Name}
		}
	case wire.OpList:
		if q := new(wire.ListRequest); wire.Decode(body, q) == nil && q.After == "" {
			return &operation{kind: opList}
		}
	}
	return nil
}

// keysFrame is a request to keymintd.
func keysFrame(code uint16, body []byte) *operation {
	switch code {
	case wire.OpGenerateKey:
		if q := new(wire.GenerateKeyRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opGenerate, name: q.Name}
		}
	case wire.OpSign:
		if q := new(wire.SignRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opSign, name: q.Name}
		}
	case wire.OpPublicKey: // It needs the key, as signing does.
		if q := new(wire.PublicKeyRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opSign, name: q.Name}
		}
	case wire.OpDeleteKey:
		if q := new(wire.DeleteKeyRequest); wire.Decode(body, q) == nil {
			return &operation{kind: opDeleteKey, name: q.Name}
		}
	case wire.OpListKeys:
		if q := new(wire.ListKeysRequest); wire.Decode(body, q) == nil && q.After == "" {
			return &operation{kind: opKeys}
		}
	}
	return nil
}

// readFrame takes in the bytes that a frame was answered with.
func (op *operation) readFrame(text string) {
	body, err := hex.DecodeString(text)
	if err != nil {
		return
	}
	value, names, keys := new(wire.GetReply), new(wire.ListReply), new(wire.ListKeysReply)
	reply := map[opKind]proto.Message{opGet: value, opList: names, opKeys: keys}[op.kind]
	if reply == nil || wire.Decode(body, reply) != nil {
		return
	}
	op.value += string(value.Value)
	op.names = append(names.Names, keys.Names...)
	if names.More || keys.More {
		op.outcome = void // The rest of the names was not asked for.
	}
}
