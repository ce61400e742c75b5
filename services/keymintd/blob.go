package keymintd

import "encoding/binary"

const (
	blobVersion = 2
	blobHeader  = 1 + 1 + 1 + 1 + 4 + 8 // bytes before the wrap

	blobLabel = "nexus data v1 blobs"

	// algorithmEd25519 says what the seed in a blob is for.
	algorithmEd25519 = 1
)

// blobAD binds a blob to its user, its app, and what its header says of the key.
func blobAD(r *ring, of owner, id [KeyIDSize]byte, header []byte) []byte {
	return wrapAD("blob", of, id[:], []byte(r.app), header)
}

// sealBlob wraps a signing key so that only the same user and app can unwrap
// it, and only as long as the app's ring exists.
func sealBlob(r *ring, c *chance, of owner, id [KeyIDSize]byte, k signingKey) []byte {
	under := derive(r.data, blobLabel)
	defer under.Wipe()
	header := append(make([]byte, 0, BlobSize), blobVersion, algorithmEd25519, k.purpose, k.uses)
	header = binary.LittleEndian.AppendUint32(header, k.version)
	header = binary.LittleEndian.AppendUint64(header, k.number)
	return append(header, wrap(under, c, blobAD(r, of, id, header), k.seed.Expose())...)
}

// openBlob is its inverse; the key that it answers has no name. The error is
// errLayout, which the bytes themselves show, errWrongKey or errNotAuthentic.
func openBlob(r *ring, of owner, id [KeyIDSize]byte, blob []byte) (signingKey, error) {
	if err := checkBlob(blob); err != nil {
		return signingKey{}, err
	}
	header := blob[:blobHeader]
	ad := func(id [KeyIDSize]byte) []byte { return blobAD(r, of, id, header) }
	seed, err := r.unwrapOwn(blobLabel, id, ad, blob[blobHeader:])
	if err != nil {
		return signingKey{}, err
	}
	if header[1] != algorithmEd25519 {
		seed.Wipe()
		return signingKey{}, errNotAuthentic
	}
	return signingKey{
		purpose: header[2], uses: header[3], state: stateActive,
		version: binary.LittleEndian.Uint32(header[4:]), number: binary.LittleEndian.Uint64(header[8:]), seed: seed,
	}, nil
}

// checkBlob says whether the bytes can be a blob at all.
func checkBlob(blob []byte) error {
	if len(blob) != BlobSize || blob[0] != blobVersion {
		return errLayout
	}
	return nil
}
