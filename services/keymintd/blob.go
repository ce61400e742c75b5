package keymintd

import "nexus.internal/os/services/secret"

// algorithmEd25519 says what the seed in a blob is for.
const algorithmEd25519 = 1

// sealBlob wraps a signing key so that only the same user and app can unwrap
// it, and only as long as the app's ring exists.
func sealBlob(r *ring, c *chance, of owner, id [KeyIDSize]byte, seed *secret.Bytes) []byte {
	under := derive(r.data, "nexus data v1 blobs")
	defer under.Wipe()
	plain := secret.New(1 + KeySize)
	defer plain.Wipe()
	plain.Expose()[0] = algorithmEd25519
	copy(plain.Expose()[1:], seed.Expose())
	return wrap(under, c, wrapAD("blob", of, id[:], r.app), plain.Expose())
}

// openBlob is its inverse. The error is errLayout, which the bytes themselves
// show, errWrongKey or errNotAuthentic.
func openBlob(r *ring, of owner, id [KeyIDSize]byte, blob []byte) (*secret.Bytes, error) {
	if err := checkBlob(blob); err != nil {
		return nil, err
	}
	under := derive(r.data, "nexus data v1 blobs")
	defer under.Wipe()
	plain, err := unwrap(under, wrapAD("blob", of, id[:], r.app), blob)
	if err != nil {
		return nil, err
	}
	defer plain.Wipe()
	if plain.Expose()[0] != algorithmEd25519 {
		return nil, errNotAuthentic
	}
	return secret.Copy(plain.Expose()[1:]), nil
}

// checkBlob says whether the bytes can be a blob at all.
func checkBlob(blob []byte) error {
	if len(blob) != BlobSize || blob[0] != wrapVersion {
		return errLayout
	}
	return nil
}
