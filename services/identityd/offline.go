package identityd

import (
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/secret"
)

// ProveOffline proves a credential of a live user, for tools that look at a disk
// on which no system runs. Nothing is counted there: whoever has the disk can
// guess as he likes. It answers the protector's id and the auth token, which the
// caller wipes, or ipc.BadSecret.
func ProveOffline(db userdb.DB, user string, kind userdb.Kind, word []byte) (id uint64, auth *secret.Bytes, err error) {
	u, live := db.Live(user)
	p, ok := u.Protector(kind)
	if !live || !ok {
		return 0, nil, ipc.BadSecret
	}
	c := &wire.Credential{Kind: wire.CredentialKind(kind), Secret: word}
	key := stretchable(c)
	defer key.Wipe()
	out := stretch(key.Expose(), &p.Salt, p.Cost)
	if !out.matches(&p) || !wellFormed(c) {
		out.auth.Wipe()
		return 0, nil, ipc.BadSecret
	}
	return p.ID, out.auth, nil
}
