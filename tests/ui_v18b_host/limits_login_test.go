package ui_v18b_host

import (
	"fmt"
	"strings"

	"nexus.internal/os/capability"
	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
)

// The limits of TestQuotaLimits that the launcher meets.

func limitAppID(b *bench) {
	for _, n := range around(capability.MaxAppID) {
		id := strings.Repeat("a", n)
		if n <= capability.MaxAppID {
			b.alice.app(id).put("token", id)
			continue
		}
		b.over("a longer app id", ipc.Malformed, func() error {
			_, err := b.w.launcher.Launch(b.w.ctx(), b.alice.sid, id, boot.AppRights)
			return err
		})
	}
}

func limitUserID(b *bench) {
	for _, n := range around(capability.MaxUserID) {
		id := strings.Repeat("u", n)
		if n <= capability.MaxUserID {
			b.w.newUser(id).app("notes").put("token", id)
			continue
		}
		b.over("a longer user id", ipc.Malformed, func() error { return b.w.launcher.CreateUser(b.w.ctx(), id, b.alice.password) })
	}
}

func limitUsers(b *bench) {
	a := b.alice.app("notes")
	a.put("token", "v")
	create := func(name string) error {
		return b.w.launcher.CreateUser(b.w.ctx(), name, b.w.known(name).password)
	}
	for i := 1; i < identityd.MaxUsers; i++ {
		must(b.t, create(fmt.Sprint("user", i)))
	}
	b.over("one user more", ipc.LimitReached, func() error { return create("more") }, a)
	users, err := b.w.launcher.ListUsers(b.w.ctx())
	must(b.t, err)
	if len(users) != identityd.MaxUsers {
		b.t.Errorf("%d users", len(users))
	}
	must(b.t, b.w.launcher.RemoveUser(b.w.ctx(), "user1", b.w.known("user1").password))
	must(b.t, create("more"))
	b.over("one user more", ipc.LimitReached, func() error { return create("user1") }, a)
}

func limitUserSessions(b *bench) {
	a := b.alice.app("notes")
	a.put("token", "v")
	login := func() error {
		_, err := b.w.launcher.StartSession(b.w.ctx(), "alice", b.alice.password)
		return err
	}
	for i := 1; i < identityd.MaxSessionsPerUser; i++ {
		must(b.t, login())
	}
	b.over("one session more", ipc.LimitReached, login, a)
	_, err := b.w.launcher.StartSession(b.w.ctx(), "alice", boot.Password([]byte("not the password")))
	want(b.t, err, ipc.BadSecret)
	b.w.newUser("bob")
	must(b.t, b.w.launcher.End(b.w.ctx(), b.alice.sid))
	must(b.t, login())
	b.over("one session more", ipc.LimitReached, login)
}

func limitSessions(b *bench) {
	a := b.alice.app("notes")
	a.put("token", "v")
	for i := 1; i < identityd.MaxSessions; i++ {
		name := fmt.Sprint("user", i/identityd.MaxSessionsPerUser)
		if i < identityd.MaxSessionsPerUser {
			name = "alice"
		} else if i%identityd.MaxSessionsPerUser == 0 {
			must(b.t, b.w.launcher.CreateUser(b.w.ctx(), name, b.w.known(name).password))
		}
		b.w.known(name).login()
	}
	must(b.t, b.w.launcher.CreateUser(b.w.ctx(), "late", b.w.known("late").password))
	login := func() error {
		_, err := b.w.launcher.StartSession(b.w.ctx(), "late", b.w.known("late").password)
		return err
	}
	b.over("one session more", ipc.LimitReached, login, a)
	b.alice.endSession()
	must(b.t, login())
	b.over("one session more", ipc.LimitReached, login)
}

func limitTokens(b *bench) {
	a := b.alice.app("notes")
	a.put("token", "v")
	launch := func() error {
		app, err := b.w.launcher.Launch(b.w.ctx(), b.alice.sid, "mail", boot.AppRights)
		if err == nil {
			app.Exit()
		}
		return err
	}
	for i := 1; i < identityd.MaxSessionTokens; i++ {
		must(b.t, launch())
	}
	b.over("one token more", ipc.LimitReached, launch, a)
	b.w.newUser("bob").app("notes").put("token", "v")
	b.alice.lock()
	b.alice.unseal()
	must(b.t, launch())
}

func limitPassword(b *bench) {
	limitSecret(b, boot.Password, "p", identityd.MinPassword, identityd.MaxPassword)
}

func limitPIN(b *bench) { limitSecret(b, boot.PIN, "1", identityd.MinPIN, identityd.MaxPIN) }

func limitSecret(b *bench, kind func([]byte) boot.Credential, char string, least, most int) {
	l, ctx := b.w.launcher, b.w.ctx()
	proof := b.w.known("bob").password
	must(b.t, l.CreateUser(ctx, "bob", proof))
	for _, n := range []int{0, least - 1, least, least + 1, most - 1, most, most + 1} {
		c := kind([]byte(strings.Repeat(char, n)))
		set := func() error { return l.SetCredential(ctx, "bob", proof, c) }
		login := func() error { _, err := l.StartSession(ctx, "bob", c); return err }
		if n < least || n > most {
			b.over(fmt.Sprint("a secret of ", n), ipc.Malformed, set)
			b.over(fmt.Sprint("a user with a secret of ", n), ipc.Malformed, func() error { return l.CreateUser(ctx, "carol", c) })
			b.over(fmt.Sprint("login with a secret of ", n), ipc.BadSecret, login)
			continue
		}
		must(b.t, set())
		if char == "p" {
			proof = c
		}
		sid, err := l.StartSession(ctx, "bob", c)
		must(b.t, err)
		must(b.t, l.End(ctx, sid))
	}
}
