package policyd

import (
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) *Rules {
	t.Helper()
	rules, _, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestDecide(t *testing.T) {
	rules := mustParse(t, `[allow]
launcher = ["session.token"]
"demo.notes" = ["keychain.put"]
"demo.mute" = []
any-app = ["keychain.get", "keychain.put", "keychain.list"]
`)
	for _, c := range []struct {
		subject string
		isApp   bool
		action  string
		allow   bool
		why     Reason
	}{
		{"launcher", false, "session.token", true, ReasonRule},
		{"launcher", true, "session.token", true, ReasonRule},
		{"launcher", true, "keychain.get", false, ReasonNotInRule},
		{"demo.notes", true, "keychain.put", true, ReasonRule},
		{"demo.notes", true, "keychain.get", false, ReasonNotInRule},
		{"demo.mute", true, "keychain.get", false, ReasonNotInRule},
		{"demo.mail", true, "keychain.get", true, ReasonAnyApp},
		{"demo.mail", true, "keychain.del", false, ReasonNotInRule},
		{"demo.mail", false, "keychain.get", false, ReasonNoRule},
		{"any-app", true, "keychain.get", false, ReasonNotCanonical},
		{"demo", true, "session.token", false, ReasonNotInRule},
		{"demo.notes.x", true, "keychain.put", true, ReasonAnyApp},
		// Alternate spellings never match.
		{"Launcher", true, "session.token", false, ReasonNotCanonical},
		{"launcher ", true, "session.token", false, ReasonNotCanonical},
		{"launcher\x00", true, "session.token", false, ReasonNotCanonical},
		{"launcher.", true, "session.token", false, ReasonNotCanonical},
		{"", true, "session.token", false, ReasonNotCanonical},
		{"laun\u0441her", true, "session.token", false, ReasonNotCanonical},
		{"launcher", true, "Session.Token", false, ReasonNotCanonical},
		{"launcher", true, "session..token", false, ReasonNotCanonical},
		{"launcher", true, "session.token\n", false, ReasonNotCanonical},
		{"launcher", true, "", false, ReasonNotCanonical},
	} {
		allow, why := rules.Decide(Question{Subject: c.subject, IsApp: c.isApp, Action: c.action})
		if allow != c.allow || why != c.why {
			t.Errorf("%q may %q: %v, %v; want %v, %v", c.subject, c.action, allow, why, c.allow, c.why)
		}
	}
	if allow, why := (&Rules{}).Decide(Question{Subject: "a", IsApp: true, Action: "b"}); allow || why != ReasonNoRule {
		t.Errorf("the zero value: %v, %v", allow, why)
	}
}

func TestDecideLimits(t *testing.T) {
	name := func(n int) string { return strings.Repeat("a", n) }
	rules := mustParse(t, "[allow]\n"+name(MaxSubject)+" = [\""+name(MaxAction)+"\"]\nany-app = [\""+name(MaxAction)+"\"]")
	for d := -1; d <= 1; d++ {
		for _, q := range []Question{
			{Subject: name(MaxSubject + d), IsApp: true, Action: name(MaxAction)},
			{Subject: name(MaxSubject), Action: name(MaxAction), Target: strings.Repeat("\x00", MaxTarget+d)},
		} {
			if allow, why := rules.Decide(q); allow != (d <= 0) || allow == (why == ReasonTooLarge) {
				t.Errorf("%+d: %v, %v", d, allow, why)
			}
		}
		_, why := rules.Decide(Question{Subject: "b", Action: name(MaxAction + d)})
		if (why == ReasonTooLarge) != (d > 0) {
			t.Errorf("action %+d: %v", d, why)
		}
	}
	if _, _, err := Parse([]byte("[allow]\na = [\"" + name(MaxAction+1) + "\"]")); err == nil {
		t.Error("a policy with an action that cannot be asked for")
	}
}

// referenceDecide looks at every rule and at every action, one after the other.
func referenceDecide(allow map[string][]string, q Question) bool {
	if len(q.Target) > 64 || q.Subject == "any-app" || !canonical.MatchString(q.Action) {
		return false
	}
	own, found, any := false, false, false
	for subject, actions := range allow {
		for _, a := range actions {
			if a == q.Action && subject == q.Subject {
				found = true
			}
			if a == q.Action && subject == "any-app" {
				any = true
			}
		}
		own = own || subject == q.Subject
	}
	if own {
		return found
	}
	return any && q.IsApp && len(q.Subject) <= 64 && canonical.MatchString(q.Subject)
}

func FuzzDecide(f *testing.F) {
	const policy = "[allow]\na = [\"b\"]\n\"a.b\" = [\"c.d\", \"b\"]\nany-app = [\"c.d\"]"
	f.Add(policy, "a", false, "b", "")
	f.Add(policy, "a.b", true, "c.d", "target")
	f.Add(policy, "other", true, "c.d", strings.Repeat("t", 65))
	f.Add(policy, "any-app", true, "c.d", "")
	f.Add(policy, "A", true, "c.d", "")
	f.Fuzz(func(t *testing.T, policy, subject string, isApp bool, action, target string) {
		rules, _, err := Parse([]byte(policy))
		if err != nil {
			return
		}
		q := Question{Subject: subject, IsApp: isApp, Action: action, Target: target}
		allow, why := rules.Decide(q)
		if want := referenceDecide(rules.allow, q); allow != want {
			t.Fatalf("%+v: %v (%v), want %v", q, allow, why, want)
		}
		if allow != (why == ReasonRule || why == ReasonAnyApp) {
			t.Fatalf("allow %v because of %v", allow, why)
		}
	})
}
