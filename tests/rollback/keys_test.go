package rollback

import (
	"fmt"
	"strings"
	"testing"
)

// step is what a user does, and the generations that the key files have then.
// The script's user knows one password throughout.
type step struct {
	script            string
	root, notes, mail int // 0 for no file
}

var steps = []step{
	{"", 1, 0, 0},
	{"put alice/notes name value\n", 1, 1, 0},
	{"generate alice/notes one\n", 1, 2, 0},
	{"set-credential alice password longword pin 314159\n", 2, 2, 0},
	{"generate alice/mail one\n", 2, 2, 2}, // A new ring, and a key in it.
	{"delkey alice/notes one\n", 2, 3, 2},
	{"set-credential alice password longword pin 271828\n", 4, 3, 2}, // A wrap more, then the old one gone.
	{"generate alice/notes two\n", 4, 4, 2},
}

// history is the disk after each step, and the paths of the two rings.
func history(t *testing.T) (states []files, notes, mail string) {
	t.Helper()
	for i, s := range steps {
		var f files
		if i == 0 {
			f = life{}.must(t, fresh+"shutdown\n")
		} else {
			f = life{before: states[i-1]}.must(t, again+s.script+"shutdown\n")
		}
		states = append(states, f)
		for path := range f {
			switch {
			case !strings.HasPrefix(path, apps), path == notes, path == mail:
			case notes == "":
				notes = path
			case mail == "":
				mail = path
			default:
				t.Fatalf("step %d made %s", i, path)
			}
		}
		if (f[notes] != "") != (s.notes > 0) || (f[mail] != "") != (s.mail > 0) {
			t.Fatalf("step %d: another set of rings", i)
		}
	}
	return states, notes, mail
}

// now is how old each file of alice is: the step after which it was copied.
type now struct{ root, notes, mail, head int }

// standing is what is said of a file of generation have where the head is about
// generation says: it may be one behind, and no more.
func standing(path string, have, says int) verdict {
	switch {
	case have == 0 && says == 0:
		return good
	case have == 0:
		return damaged(path)
	case says == 0, have < says:
		return rolledBack(path)
	case have > says+1:
		return rolledBack(keysHead)
	}
	return good
}

// TestEveryCopyOfAKeyFile puts each copy of each key file beside the others of
// each other moment: older ones beside newer ones, and the other way round.
func TestEveryCopyOfAKeyFile(t *testing.T) {
	states, notes, mail := history(t)
	alarms := 0
	for i := range states {
		for k := range states {
			for path, of := range map[string]now{
				rootFile: {k, i, i, i}, notes: {i, k, i, i}, mail: {i, i, k, i}, keysHead: {i, i, i, k},
			} {
				head := steps[of.head]
				root := standing(rootFile, steps[of.root].root, head.root)
				for _, app := range []struct {
					name string
					want verdict
				}{
					{"notes", standing(notes, steps[of.notes].notes, head.notes)},
					{"mail", standing(mail, steps[of.mail].mail, head.mail)},
				} {
					want := root
					if want == good {
						want = app.want
					}
					name := fmt.Sprintf("%s of step %d in step %d, read by %s", path, k, i, app.name)
					says(t, name, states[i].with(files{path: states[k][path]}), again+"keys alice/"+app.name+"\n", want)
					if want != good {
						alarms++
					}
				}
			}
		}
	}
	t.Logf("%d disks, %d alarms", len(states)*len(states)*4, alarms)
	if alarms < 100 {
		t.Errorf("%d alarms", alarms)
	}
}

// TestHeadCatchesUp: a head that is one behind is accepted once, because a crash
// may have left it. Who reads the newer file closes the gap.
func TestHeadCatchesUp(t *testing.T) {
	states, notes, _ := history(t)
	for _, c := range []struct {
		path          string
		before, after int // the steps around the change
		read          string
	}{
		{rootFile, 2, 3, ""},
		{notes, 4, 5, "keys alice/notes\n"},
	} {
		behind := states[c.after].with(files{keysHead: states[c.before][keysHead]})
		caught := says(t, c.path+" newer than its head", behind, again+c.read+"shutdown\n", good)
		if caught[keysHead] == behind[keysHead] {
			t.Errorf("%s: the head did not catch up", c.path)
		}
		older := files{c.path: states[c.before][c.path]}
		says(t, c.path+" older after that", caught.with(older), again+c.read, rolledBack(c.path))
		// Before anybody has read the newer one, nobody can tell.
		says(t, c.path+" older, and the head that is about it", behind.with(older), again+c.read, good)
	}
}

// TestTogether is what the system cannot tell: all files of one moment are the
// disk of that moment, and so are those that are compared with one another.
func TestTogether(t *testing.T) {
	states, notes, mail := history(t)
	old, newest := states[5], states[len(states)-1]
	keys := files{rootFile: old[rootFile], keysHead: old[keysHead], notes: old[notes], mail: old[mail]}
	says(t, "the key files together", newest.with(keys), again+"keys alice/notes\nget alice/notes name value\n", good)
	says(t, "everything but the boot record", newest.with(old.with(files{"boot": newest["boot"]})), again+"keys alice/notes\n", good)
	delete(keys, mail)
	delete(keys, rootFile)
	says(t, "a head and one ring", newest.with(keys), again+"keys alice/notes\n", rolledBack(keysHead))
}

// TestMissing: no file of keys is missed by nobody.
func TestMissing(t *testing.T) {
	states, notes, mail := history(t)
	newest := states[len(states)-1]
	for _, c := range []struct {
		name string
		put  files
		read string
		want verdict
	}{
		{"root.keys", files{rootFile: ""}, "", damaged(rootFile)},
		{"keys.head", files{keysHead: ""}, "", damaged(keysHead)},
		{"root.keys and keys.head", files{rootFile: "", keysHead: ""}, "", damaged(rootFile)},
		{"a ring", files{notes: ""}, "keys alice/notes\n", damaged(notes)},
		{"a ring without records", files{mail: ""}, "put alice/mail name value\n", damaged(mail)},
		{"vault.head", files{kvHead: ""}, "", damaged(kvHead)},
		{"vault.kv", files{kvFile: ""}, "", damaged(kvFile)},
		{"vault.kv and vault.head", files{kvFile: "", kvHead: ""}, "", damaged(kvFile)},
	} {
		before := newest.with(c.put)
		after := says(t, c.name, before, again+c.read, c.want)
		for path, content := range before {
			if strings.HasPrefix(path, dir) && after[path] != content {
				t.Errorf("%s: %s was changed", c.name, path)
			}
		}
	}
}

// TestHeadOfAnother: a head of keys is one user's, and one incarnation's.
func TestHeadOfAnother(t *testing.T) {
	bob := "create-user bob password longword\nunlock bob password longword\n"
	f := life{}.must(t, fresh+bob+"put alice/notes name value\nput bob/notes name value\nshutdown\n")
	says(t, "another user's head", f.with(files{keysHead: f["state/identity/bob/keys.head"]}), again, damaged(keysHead))
	anew := life{before: f}.must(t, again+"remove-user alice password longword\n"+makeUser+unlock+"put alice/notes name value\nshutdown\n")
	says(t, "a former incarnation's head", anew.with(files{keysHead: f[keysHead]}), again, damaged(keysHead))
}

// TestOlderUsers: an older users.db lets an old credential start a session, but
// not unseal one: there is no wrap for it any more. Where nothing but newer
// credentials is missing from it, nobody can tell.
func TestOlderUsers(t *testing.T) {
	const users = "state/identity/users.db"
	one := life{}.must(t, fresh+"set-credential alice password longword pin 314159\nput alice/notes name value\nshutdown\n")
	two := life{before: one}.must(t, "boot\nset-credential alice password longword pin 271828\nshutdown\n")
	gone := life{before: two}.must(t, "boot\nremove-credential alice password longword pin\nshutdown\n")
	for name, c := range map[string]struct {
		now, before files
		script      string
		want        verdict
	}{
		"a PIN that was changed":           {two, one, "login alice pin 314159\nunseal alice pin 314159\n", rolledBack(users)},
		"a PIN that was removed":           {gone, two, "login alice pin 271828\nunseal alice pin 271828\n", rolledBack(users)},
		"with a PIN that was changed":      {two, one, "set-credential alice pin 314159 password another1\n", rolledBack(users)},
		"the newer PIN":                    {two, one, "fails bad-secret login alice pin 271828\n", good},
		"a password that is still the one": {two, one, unlock + "get alice/notes name value\n", good},
	} {
		says(t, name, c.now.with(files{users: c.before[users]}), "boot\n"+c.script, c.want)
	}
}
