package keymintd

import (
	"errors"
	"strconv"
)

// Classes of failure of the codecs; what a request is answered is in
// docs/spec/keymint.md.
var (
	errVersion      = errors.New("keymintd: another version of the format")
	errLayout       = errors.New("keymintd: not of this form")
	errWrongKey     = errors.New("keymintd: made under another key")
	errNotAuthentic = errors.New("keymintd: not authentic")
	errNoProtector  = errors.New("keymintd: no such protector")
	errOlder        = errors.New("keymintd: older than keys.head says")
	errDestroyed    = errors.New("keymintd: destroyed, as keys.head says")
	errHeadOlder    = errors.New("keymintd: keys.head is older than what it is about")
)

// damageAt is where a file is not what was written, in bytes from its start.
type damageAt int64

func (d damageAt) Error() string {
	return "keymintd: damaged at offset " + strconv.FormatInt(int64(d), 10)
}
