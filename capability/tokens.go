package capability

import "crypto/subtle"

// Row is a live token. The table of rows is the authority; the sealed bytes
// are only a reference that cannot be made up.
type Row struct {
	TokenFields
	AppID   string // the canonical id behind App
	Session any    // the kernel's session; never read here
	sealed  Token

	parent     *Row
	children   *Row
	prev, next *Row
	live       bool
}

// Live says whether the token can still pass.
func (r *Row) Live() bool { return r.live }

// Tokens is the table of live tokens of one boot.
type Tokens struct {
	sealer *Sealer
	rows   map[uint64]*Row
	last   uint64
}

// NewTokens makes an empty table whose tokens are sealed under key.
func NewTokens(key *[TokenKeySize]byte) *Tokens {
	return &Tokens{sealer: NewSealer(key), rows: make(map[uint64]*Row)}
}

// Live says how many tokens are live.
func (ts *Tokens) Live() int { return len(ts.rows) }

// Mint makes a live token. The serial in f is chosen here.
func (ts *Tokens) Mint(f TokenFields, session any) (Token, *Row, error) {
	return ts.add(f, session, nil)
}

// Derive makes a token with no more rights and no more life than the parent.
// Its holder may be another task. Revoking the parent revokes it.
func (ts *Tokens) Derive(parent *Row, holder uint64, rights TokenRights, expires uint64) (Token, *Row, error) {
	if !parent.live {
		return Token{}, nil, ErrTokenRights
	}
	if rights&^parent.Rights != 0 || outlives(expires, parent.Expires) {
		return Token{}, nil, ErrTokenRights
	}
	f := parent.TokenFields
	f.Holder, f.Rights, f.Expires = holder, rights, expires
	t, r, err := ts.add(f, parent.Session, parent)
	if err == nil {
		r.AppID = parent.AppID
	}
	return t, r, err
}

func outlives(child, parent uint64) bool {
	return parent != 0 && (child == 0 || child > parent)
}

func (ts *Tokens) add(f TokenFields, session any, parent *Row) (Token, *Row, error) {
	ts.last++
	f.Serial = ts.last
	t, err := ts.sealer.Seal(f)
	if err != nil {
		return Token{}, nil, err
	}
	r := &Row{TokenFields: f, Session: session, sealed: t, live: true, parent: parent}
	if parent != nil {
		r.next = parent.children
		if r.next != nil {
			r.next.prev = r
		}
		parent.children = r
	}
	ts.rows[f.Serial] = r
	return t, r, nil
}

// Revoke kills the token and everything derived from it and returns how many
// tokens died. Revoking a dead token kills nothing.
func (ts *Tokens) Revoke(r *Row) int {
	if !r.live {
		return 0
	}
	killed := 1
	for r.children != nil {
		killed += ts.Revoke(r.children)
	}
	r.unlink()
	r.live = false
	delete(ts.rows, r.Serial)
	return killed
}

func (r *Row) unlink() {
	if r.parent == nil {
		return
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		r.parent.children = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.parent, r.prev, r.next = nil, nil, nil
}

// Check finds the live row behind a token that holder presents at time now.
// What the table cannot know, it calls by what it sees: a token of an epoch or a
// session that is over has no row, and so is RefusedRevoked.
// Comparing with the table's own sealed copy is as good as computing the seal,
// and cheaper; the seal is computed only to tell a forged token from a
// revoked one. Check allocates nothing.
func (ts *Tokens) Check(t *Token, holder, now uint64) (*Row, Refusal) {
	if why := t.wellFormed(); why != Accepted {
		return nil, why
	}
	r := ts.rows[t.serial()]
	if r == nil || subtle.ConstantTimeCompare(r.sealed[:], t[:]) != 1 {
		if ts.sealer.Authentic(t) {
			return nil, RefusedRevoked
		}
		return nil, RefusedForged
	}
	return r, r.Recheck(holder, now)
}

// Recheck asks again what may have changed since Check: life, holder, expiry.
func (r *Row) Recheck(holder, now uint64) Refusal {
	switch {
	case !r.live:
		return RefusedRevoked
	case r.Holder != holder:
		return RefusedHolder
	case r.Expires != 0 && now >= r.Expires:
		return RefusedExpired
	}
	return Accepted
}
