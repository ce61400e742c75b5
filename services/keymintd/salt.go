package keymintd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

const (
	saltMagic   = "NXDS"
	saltVersion = 1
	saltOffset  = 6
	saltSum     = saltOffset + KeySize
	saltSize    = saltSum + sha256.Size
)

// encodeSalt answers the file that holds the device's salt.
func encodeSalt(salt *[KeySize]byte) []byte {
	b := make([]byte, 0, saltSize)
	b = append(b, saltMagic...)
	b = binary.LittleEndian.AppendUint16(b, saltVersion)
	b = append(b, salt[:]...)
	return appendSum(b)
}

// decodeSalt reads it. The error is a damageAt or errVersion.
func decodeSalt(b []byte) (salt [KeySize]byte, err error) {
	if err := checkFile(b, saltMagic, saltVersion, saltSize); err != nil {
		return salt, err
	}
	if len(b) != saltSize {
		return salt, damageAt(saltSize)
	}
	return [KeySize]byte(b[saltOffset:]), nil
}

func appendSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// checkFile checks what the files with a checksum have in common: the least
// length, the magic, the checksum at the end, and the version after that,
// because a version is worth believing only under a right checksum.
func checkFile(b []byte, magic string, version uint16, least int) error {
	if len(b) < least {
		return damageAt(len(b))
	}
	if string(b[:len(magic)]) != magic {
		return damageAt(0)
	}
	end := len(b) - sha256.Size
	if sum := sha256.Sum256(b[:end]); !bytes.Equal(sum[:], b[end:]) {
		return damageAt(end)
	}
	if binary.LittleEndian.Uint16(b[len(magic):]) != version {
		return errVersion
	}
	return nil
}
