package boot

import (
	"fmt"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd"
)

// Daemon is a service that somebody adds to the system: docs/HACKING.md shows
// how. It starts after the system's own, gets the capabilities that it names
// and no others, and none of the system's services can call it.
type Daemon struct {
	// Name is what the kernel stamps on its messages. No app can have it.
	Name string
	// Marks are the beginnings of the markers that it may print.
	Marks []string
	// Facets are its endpoints.
	Facets []Facet
	// Calls lists the facets that it may call: of the system's services or of
	// daemons before it.
	Calls []Edge
	// Files says which files under state: it may touch. The subject of each
	// is the daemon, whatever it says.
	Files []statefsd.Grant
	// Apps lets apps call its facets.
	Apps bool
	// New makes an instance; slots are those of Calls, in the same order.
	New func(t *ipc.Task, slots []ipc.Slot) ipc.Service
}

// row is the daemon's row of the table.
func (d *Daemon) row() row {
	return row{name: d.Name, marks: d.Marks, facets: d.Facets, calls: d.Calls}
}

// rows are the system's services and then the daemons. Each calls only those
// before it, or the system's own table says otherwise.
func (c *Config) rows() ([]row, error) {
	rows := slices.Clone(table)
	for i := range c.Daemons {
		d := &c.Daemons[i]
		if find(rows, d.Name) != nil || slices.Contains(reserved(nil), d.Name) {
			return nil, fmt.Errorf("boot: there is a service called %q already", d.Name)
		}
		for _, e := range d.Calls {
			if r := find(rows, e.Service); r == nil || int(e.Facet) >= len(r.facets) {
				return nil, fmt.Errorf("boot: %s calls facet %d of %q, which is not there before it", d.Name, e.Facet, e.Service)
			}
		}
		rows = append(rows, d.row())
	}
	return rows, nil
}

func find(rows []row, name string) *row {
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// grants says who may touch which file, daemons included.
func (c *Config) grants() []statefsd.Grant {
	all := slices.Clone(files)
	for _, d := range c.Daemons {
		for _, g := range d.Files {
			g.Subject = d.Name
			all = append(all, g)
		}
	}
	return all
}

// appCalls are what an app may call: the system's, and daemons that let it.
func (c *Config) appCalls() []Edge {
	calls := slices.Clone(appCalls)
	for _, d := range c.Daemons {
		for i := range d.Facets {
			if d.Apps {
				calls = append(calls, Edge{d.Name, uint8(i)})
			}
		}
	}
	return calls
}

// daemon makes an instance of an added service.
func (c *Config) daemon(t *ipc.Task, slots map[Edge]ipc.Slot) func() ipc.Service {
	i := slices.IndexFunc(c.Daemons, func(d Daemon) bool { return d.Name == t.Name() })
	if i < 0 {
		return nil
	}
	d := c.Daemons[i]
	own := make([]ipc.Slot, len(d.Calls))
	for i, e := range d.Calls {
		own[i] = slots[e]
	}
	return func() ipc.Service { return d.New(t, own) }
}
