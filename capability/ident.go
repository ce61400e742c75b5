package capability

import "errors"

// Limits of identifiers, in bytes.
const (
	MaxAppID  = 64
	MaxUserID = 32
	MaxName   = 256
)

// ErrNotCanonical says that an app id, a user id or a name is not in its one
// canonical form. There is no normalisation: every other spelling is refused.
var ErrNotCanonical = errors.New("capability: not in canonical form")

// CheckApp accepts an app id: 1 to 64 bytes, a lower-case letter first, then
// runs of lower-case letters and digits joined by single '.', '-' or '_'.
func CheckApp(id string) error { return checkLabels(id, MaxAppID) }

// CheckUser accepts a user id: the alphabet of an app id, 1 to 32 bytes.
func CheckUser(id string) error { return checkLabels(id, MaxUserID) }

// CheckName accepts the name of a secret or of a key: 1 to 256 bytes of
// printable ASCII without space (0x21 to 0x7e). With one byte a character and
// no invisible ones, two names that look alike are alike.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return ErrNotCanonical
	}
	for i := range len(name) {
		if name[i] < 0x21 || name[i] > 0x7e {
			return ErrNotCanonical
		}
	}
	return nil
}

func checkLabels(id string, limit int) error {
	if len(id) == 0 || len(id) > limit || !isLower(id[0]) {
		return ErrNotCanonical
	}
	joined := false
	for i := range len(id) {
		switch b := id[i]; {
		case isLower(b) || b >= '0' && b <= '9':
			joined = false
		case (b == '.' || b == '-' || b == '_') && !joined:
			joined = true
		default:
			return ErrNotCanonical
		}
	}
	if joined {
		return ErrNotCanonical
	}
	return nil
}

func isLower(b byte) bool { return b >= 'a' && b <= 'z' }
