package fsck

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/identityd/userdb"
	"nexus.internal/os/services/keymintd"
	"nexus.internal/os/services/keystored/vault"
	"nexus.internal/os/services/secret"
)

// Credential opens one user's files.
type Credential struct {
	User string
	Kind userdb.Kind
	Word *secret.Bytes
}

// Holding is how much of an app's can be read.
type Holding struct {
	App     string   `json:"app"`
	Secrets []string `json:"secrets"` // names
}

// CheckAll is Check, and reads all that the credential opens. It returns what its
// user's apps have, and ipc.BadSecret for a credential that is wrong, unless the
// files that it takes to tell are damaged.
func CheckAll(files Files, by Credential) ([]Finding, []Holding, error) {
	c := &check{files: files, known: make(map[string]bool)}
	db := c.all()
	if damaged(c.found, usersPath, saltPath) {
		return c.sorted(), nil, nil
	}
	id, auth, err := identityd.ProveOffline(db, by.User, by.Kind, by.Word.Expose())
	if err != nil {
		return c.sorted(), nil, err
	}
	defer auth.Wipe()
	u, _ := db.Live(by.User)
	o, err := keymintd.OpenOffline(c.file, u.ID, u.Incarnation, id, auth.Expose())
	if err != nil {
		c.once(userFolders+u.ID+"/root.keys", err)
		return c.sorted(), nil, nil
	}
	defer o.Wipe()
	holdings := c.keyed(&u, o)
	return c.sorted(), holdings, nil
}

func damaged(found []Finding, files ...string) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return slices.Contains(files, f.File) && !f.Harmless() })
}

// file answers a file by its path below state:.
func (c *check) file(path string) []byte { return c.files[onDisk(path)] }

// once notes an error about a file of which none is noted yet.
func (c *check) once(file string, err error) {
	before := len(c.found)
	c.fault(file, err)
	if n := len(c.found); n > before {
		last := c.found[n-1]
		if damaged(c.found[:before], last.File) {
			c.found = c.found[:before]
		}
	}
}

// keyed checks what the user's keys open.
func (c *check) keyed(u *userdb.User, o *keymintd.Offline) []Holding {
	dir := folderOf(u.ID, o.Epoch())
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		if name, ours := strings.CutPrefix(file, dir); ours && ringName.MatchString(name) {
			_, err := o.OpenRing(below(file), c.files[file])
			if errors.Is(err, ipc.NotFound) {
				c.find(file, -1, Note, "of an app that was uninstalled; it opens nothing")
				continue
			}
			c.once(file, err)
		}
	}
	for _, path := range o.Missing() {
		if _, there := c.files[onDisk(path)]; !there {
			c.find(onDisk(path), -1, Missing, "an app's keys, and all that it has stored with them")
		}
	}
	data, there := c.files[dir+"vault.kv"]
	if !there || len(data) == 0 {
		return nil
	}
	index, whole := c.replayed(dir, data, o)
	if !whole {
		index = c.salvageable(dir, data, o)
	}
	return c.holdings(dir, index, o)
}

// replayed reads the vault as keystored does.
func (c *check) replayed(dir string, data []byte, o *keymintd.Offline) (*vault.Index, bool) {
	head, ok := c.head(dir, o)
	if !ok {
		return nil, false
	}
	r := vault.NewReplay(data, head)
	for segment, more := r.Next(); more; segment, more = r.Next() {
		body, err := o.OpenSegment(segment.Header, segment.Sealed)
		if err != nil {
			r.Unauthentic()
		} else {
			r.Opened(body)
		}
	}
	result, err := r.Result()
	var d *vault.Damage
	switch {
	case errors.As(err, &d) && d.Older:
		c.find(dir+"vault.kv", d.Offset, RolledBack, "%s", d.Reason)
		return nil, false
	case errors.As(err, &d):
		if !damaged(c.found, dir+"vault.kv") {
			c.find(dir+"vault.kv", d.Offset, Damaged, "%s", d.Reason)
		}
		return nil, false
	case err != nil:
		return nil, false
	}
	if result.Torn {
		n := uint64(len(data)) - result.End.Length
		c.drop(dir+"vault.kv", int64(result.End.Length))
		c.find(dir+"vault.kv", int64(result.End.Length), Tail,
			"%d bytes behind the last whole batch: what a power cut leaves, and all that it can be told from damage by", n)
	}
	return result.Index, true
}

// drop takes back what was found in a file from an offset on without keys.
func (c *check) drop(file string, from int64) {
	c.found = slices.DeleteFunc(c.found, func(f Finding) bool { return f.File == file && f.Kind == Damaged && f.Offset >= from })
}

// head opens the head.
func (c *check) head(dir string, o *keymintd.Offline) (*vault.Point, bool) {
	header, sealed, err := vault.SplitHead(c.files[dir+"vault.head"])
	if err != nil {
		return nil, false // Noted without keys.
	}
	body, err := o.OpenSegment(header, sealed)
	if err == nil {
		var p vault.Point
		if p, err = vault.DecodeHead(header, body); err == nil {
			return &p, true
		}
	}
	c.find(dir+"vault.head", 0, Damaged, "it is not authentic")
	return nil, false
}

// salvageable is what can be read of a vault that keystored refuses, and says
// exactly what cannot. A record in it may be older than one that is lost.
func (c *check) salvageable(dir string, data []byte, o *keymintd.Offline) *vault.Index {
	kv := dir + "vault.kv"
	c.drop(kv, 0)
	index, last, record := vault.NewIndex(), uint64(0), uint64(0)
	for _, s := range c.authentic(kv, data, o) {
		if last > 0 && s.sequence != last+1 {
			c.find(kv, s.offset, Lost, "%s", lostBetween(last, s.sequence, record, s.records[0].Sequence))
		}
		last = s.sequence
		for _, r := range s.records {
			record = max(record, r.Sequence)
			index.Salvage(r, s.offset)
		}
	}
	if p, ok := c.head(dir, o); ok && p.Sequence > last {
		c.find(kv, int64(len(data)), Lost, "segments %d to %d, as far as the head knows", last+1, p.Sequence)
	}
	return index
}

// segment is an authentic one.
type segment struct {
	offset   int64
	sequence uint64
	records  []vault.Record
}

// authentic answers the authentic segments of a vault once each and in the order
// of their sequences, which are authentic, and not of their places, which are not:
// so no older segment that somebody has put behind a newer one undoes a deletion.
func (c *check) authentic(kv string, data []byte, o *keymintd.Offline) (all []segment) {
	bodies := make(map[int64][]byte)
	stretches := vault.Survey(data, func(s vault.Segment) bool {
		body, err := o.OpenSegment(s.Header, s.Sealed)
		if err == nil {
			bodies[s.Offset] = body
		}
		return err == nil
	})
	for i, s := range stretches {
		// Behind a gap nothing continues what was before it: that is one finding.
		if s.Gap() || s.Reason != "" && !stretches[i-1].Gap() {
			c.find(kv, s.Offset, Damaged, "%s, %d bytes long", s.Reason, s.Length)
		}
		for _, seg := range s.Segments {
			h, _ := vault.DecodeHeader(seg.Header) // Survey has read it.
			records, err := vault.DecodeBody(bodies[seg.Offset])
			if err != nil {
				c.find(kv, seg.Offset, Damaged, "a body that breaks the format")
				continue
			}
			all = append(all, segment{seg.Offset, h.Sequence, records})
		}
	}
	slices.SortStableFunc(all, func(a, b segment) int { return cmp.Compare(a.sequence, b.sequence) })
	return slices.CompactFunc(all, func(a, b segment) bool { return a.sequence == b.sequence })
}

// lostBetween says what is missing between two segments.
func lostBetween(segment, next, record, nextRecord uint64) string {
	text := fmt.Sprintf("segments %d to %d", segment+1, next-1)
	if nextRecord > record+1 {
		text += fmt.Sprintf(", with the records %d to %d as far as there were such", record+1, nextRecord-1)
	}
	return text
}

// holdings opens every live record.
func (c *check) holdings(dir string, index *vault.Index, o *keymintd.Offline) (all []Holding) {
	apps := o.Apps()
	for _, key := range index.Keys() {
		app, there := apps[key]
		if !there {
			c.find(dir+"vault.kv", -1, Lost, "%d secrets of an app whose keys are gone", len(index.Sequences(key)))
			continue
		}
		h := Holding{App: app, Secrets: []string{}}
		for _, sequence := range index.Sequences(key) {
			live, _ := index.Live(sequence)
			name, value, err := o.OpenRecord(app, sequence, uint8(vault.Put), live.Sealed)
			if err != nil {
				c.find(dir+"vault.kv", live.Offset, Lost, "record %d of %s, which is not authentic", sequence, app)
				continue
			}
			value.Wipe()
			if live.Stale {
				name += " (may be out of date)"
			}
			h.Secrets = append(h.Secrets, name)
		}
		slices.Sort(h.Secrets)
		all = append(all, h)
	}
	return all
}
