package keychain_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"

	"nexus.internal/os/cmd/boot"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/keychain"
	"nexus.internal/os/services/secret"
	"nexus.internal/os/services/statefsd/simdisk"
)

// An app keeps a token and gets it back. A secret prints as "[redacted]"
// wherever it is printed; who needs its bytes asks for them, and wipes them.
func Example() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")

	token := secret.Copy([]byte("hunter2"))
	defer token.Wipe()
	if err := notes.Put(ctx, "api-token", token); err != nil {
		log.Fatal(err)
	}

	got, err := notes.Get(ctx, "api-token")
	if err != nil {
		log.Fatal(err)
	}
	defer got.Wipe()
	fmt.Println(got)
	fmt.Printf("%s\n", got.Expose())
	// Output:
	// [redacted]
	// hunter2
}

// Another app of the same user has names of its own, and cannot even tell
// whether a name is somebody else's.
func Example_apps() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes, mail := alice.launch("notes"), alice.launch("mail")

	put(notes, "api-token", "hunter2")

	_, err := mail.Get(ctx, "api-token")
	fmt.Println(err)
	_, err = mail.Get(ctx, "nobody's")
	fmt.Println(err)
	// Output:
	// not found
	// not found
}

// After a lock the app's token is void for good. When the user is back, the
// launcher starts the app again, with a token of the new epoch.
func Example_lock() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")
	put(notes, "api-token", "hunter2")

	alice.lock()
	_, err := notes.Get(ctx, "api-token")
	fmt.Println("old token:", err)

	notes = alice.launch("notes")
	_, err = notes.Get(ctx, "api-token")
	fmt.Println("new token:", err)

	alice.unseal()
	_, err = notes.Get(ctx, "api-token")
	fmt.Println("unsealed:", err)
	// Output:
	// old token: denied
	// new token: sealed
	// unsealed: <nil>
}

// Put replaces what was there, durably, or returns an error and has changed
// nothing.
func ExampleClient_Put() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")

	value := secret.Copy([]byte("hunter2"))
	defer value.Wipe()
	fmt.Println(notes.Put(ctx, "api-token", value))

	tooLarge := secret.New(keychain.MaxValue + 1)
	err := notes.Put(ctx, "api-token", tooLarge)
	fmt.Println(err, errors.Is(err, keychain.ErrTooLarge))

	err = notes.Put(ctx, "a name with spaces", value)
	fmt.Println(err, errors.Is(err, keychain.ErrMalformed))
	// Output:
	// <nil>
	// too large true
	// malformed true
}

func ExampleClient_Get() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")

	_, err := notes.Get(ctx, "api-token")
	if errors.Is(err, keychain.ErrNotFound) {
		fmt.Println("nothing yet")
	}
	put(notes, "api-token", "hunter2")
	token, err := notes.Get(ctx, "api-token")
	if err != nil {
		log.Fatal(err)
	}
	defer token.Wipe()
	fmt.Println(token.Len(), "bytes")
	// Output:
	// nothing yet
	// 7 bytes
}

func ExampleClient_Delete() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")

	put(notes, "api-token", "hunter2")
	fmt.Println(notes.Delete(ctx, "api-token"))
	fmt.Println(notes.Delete(ctx, "api-token"))
	// Output:
	// <nil>
	// not found
}

func ExampleClient_List() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	notes := alice.launch("notes")

	put(notes, "imap/password", "hunter2")
	put(notes, "api-token", "hunter3")
	names, err := notes.List(ctx)
	fmt.Println(names, err)
	// Output:
	// [api-token imap/password] <nil>
}

// A key is made by keymintd and stays there. Whoever has the public half can
// verify what it signs.
func ExampleClient_Sign() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	wallet := alice.launch("wallet")

	public, err := wallet.Generate(ctx, "spending")
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("10 to bob")
	signature, err := wallet.Sign(ctx, "spending", message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ed25519.Verify(public, message, signature))
	fmt.Println(ed25519.Verify(public, []byte("99 to bob"), signature))
	// Output:
	// true
	// false
}

// A detached key can be kept anywhere: the blob is worth nothing to anybody but
// the app that it came from.
func ExampleClient_Unwrap() {
	ctx, alice := context.Background(), login("alice")
	defer alice.shutdown()
	wallet, mail := alice.launch("wallet"), alice.launch("mail")

	public, err := wallet.Generate(ctx, "spending")
	if err != nil {
		log.Fatal(err)
	}
	blob, err := wallet.Detach(ctx, "spending")
	if err != nil {
		log.Fatal(err)
	}

	_, err = mail.Unwrap(ctx, "stolen", blob)
	fmt.Println(err)
	again, err := wallet.Unwrap(ctx, "spending", blob)
	fmt.Println(string(again) == string(public), err)
	keys, err := wallet.Keys(ctx)
	fmt.Println(keys, err)
	if err := wallet.DeleteKey(ctx, "spending"); err != nil {
		log.Fatal(err)
	}
	_, err = wallet.Unwrap(ctx, "spending", blob)
	fmt.Println(err)
	// Output:
	// denied
	// true <nil>
	// [spending] <nil>
	// denied
}

// user is somebody at an unlocked computer.
type user struct {
	system   *boot.System
	launcher *boot.Launcher
	password boot.Credential
	sid      uint64
}

// login boots a system on a disk in memory, creates the user and unseals.
func login(name string) *user {
	system, err := boot.Boot(boot.Config{
		Disk:  simdisk.New(),
		Argon: identityd.Params{MemoryKiB: 8, Passes: 1, Lanes: 1}, // Weak on purpose; the zero value is what ships.
	})
	check(err)
	launcher, err := system.Launcher()
	check(err)
	u := &user{system: system, launcher: launcher, password: boot.Password([]byte("correct horse battery"))}
	check(launcher.CreateUser(context.Background(), name, u.password))
	u.sid, err = launcher.StartSession(context.Background(), name, u.password)
	check(err)
	u.unseal()
	return u
}

// launch starts an app, and answers the client that the app was handed.
func (u *user) launch(id string) *keychain.Client {
	app, err := u.launcher.Launch(context.Background(), u.sid, id, boot.AppRights)
	check(err)
	return app.Keychain
}

func (u *user) unseal() { check(u.launcher.Unseal(context.Background(), u.sid, u.password)) }

func (u *user) lock() { check(u.launcher.Lock(context.Background(), u.sid)) }

func (u *user) shutdown() { u.system.Shutdown() }

func put(c *keychain.Client, name, value string) {
	v := secret.Copy([]byte(value))
	defer v.Wipe()
	check(c.Put(context.Background(), name, v))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
