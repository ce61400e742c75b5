package userdb

import (
	"reflect"
	"testing"
)

func user(id string, state State) User {
	return User{ID: id, Incarnation: [16]byte{1}, State: state, NextProtector: 1}
}

func TestChangesMakeAnotherDatabase(t *testing.T) {
	before := DB{}.With(user("b", Creating))
	after := before.With(user("a", Creating)).With(user("b", Removing)).With(user("c", Creating))
	if u, _ := before.Find("b"); before.Len() != 1 || u.State != Creating {
		t.Error("With changed its receiver")
	}
	var ids []string
	for _, u := range after.Users() {
		ids = append(ids, u.ID)
	}
	if !reflect.DeepEqual(ids, []string{"a", "b", "c"}) {
		t.Errorf("order %v", ids)
	}
	gone := after.Without("b").Without("nobody")
	if _, ok := gone.Find("b"); ok || gone.Len() != 2 || after.Len() != 3 {
		t.Error("Without")
	}
}

func TestCopiesShareNothing(t *testing.T) {
	u := user("a", Live).WithProtector(Protector{ID: 1, Kind: PIN})
	db := DB{}.With(u)
	u.Protectors[0].ID = 99
	found, _ := db.Find("a")
	found.Protectors[0].ID = 98
	db.Users()[0].Protectors[0].ID = 97
	if again, _ := db.Find("a"); again.Protectors[0].ID != 1 {
		t.Errorf("a copy's change shows: %d", again.Protectors[0].ID)
	}
}

func TestLiveHidesTheOthers(t *testing.T) {
	db := DB{}.With(user("a", Creating)).With(user("b", Live)).With(user("c", Removing))
	for id, want := range map[string]bool{"a": false, "b": true, "c": false, "d": false} {
		if _, ok := db.Live(id); ok != want {
			t.Errorf("%s: %v", id, ok)
		}
	}
}

func TestWithProtectorReplacesItsKind(t *testing.T) {
	u := user("a", Live).WithProtector(Protector{ID: 1, Kind: PIN})
	v := u.WithProtector(Protector{ID: 2, Kind: Password})
	w := v.WithProtector(Protector{ID: 3, Kind: PIN})
	if len(u.Protectors) != 1 || u.NextProtector != 2 {
		t.Errorf("one: %+v", u)
	}
	if len(v.Protectors) != 2 || v.Protectors[0].Kind != Password || v.NextProtector != 3 {
		t.Errorf("two: %+v", v)
	}
	if pin, ok := w.Protector(PIN); !ok || len(w.Protectors) != 2 || pin.ID != 3 || w.NextProtector != 4 {
		t.Errorf("replaced: %+v", w)
	}
	if pin, _ := v.Protector(PIN); pin.ID != 1 {
		t.Error("WithProtector changed its receiver")
	}
	if _, ok := u.Protector(Password); ok {
		t.Error("a protector that was never set")
	}
}
