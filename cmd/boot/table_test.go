package boot

import (
	"slices"
	"testing"

	"nexus.internal/os/ipc/wire"
)

// TestCallsGoOneWay follows every chain of calls that the table allows: none
// comes back to a service that it went through, so that services cannot wait
// for each other in a circle.
func TestCallsGoOneWay(t *testing.T) {
	calls := make(map[string][]string)
	for _, r := range table {
		for _, e := range r.calls {
			calls[r.name] = append(calls[r.name], e.Service)
		}
	}
	if loop := findLoop(calls); loop != nil {
		t.Errorf("calls go round in %v", loop)
	}
	calls[RNGD] = append(calls[RNGD], IdentityD)
	if findLoop(calls) == nil {
		t.Error("a loop was not found")
	}
}

func findLoop(calls map[string][]string) []string {
	var walk func(path []string) []string
	walk = func(path []string) []string {
		for _, next := range calls[path[len(path)-1]] {
			if slices.Contains(path, next) {
				return append(path, next)
			}
			if loop := walk(append(slices.Clone(path), next)); loop != nil {
				return loop
			}
		}
		return nil
	}
	for from := range calls {
		if loop := walk([]string{from}); loop != nil {
			return loop
		}
	}
	return nil
}

// TestEdgesLeadSomewhere finds rows that name a service or a facet that is not
// there, and facets that nobody may call.
func TestEdgesLeadSomewhere(t *testing.T) {
	called := make(map[Edge]bool)
	edges := slices.Concat(launcherCalls, appCalls, appRoutes)
	for _, r := range table {
		edges = append(edges, r.calls...)
	}
	for _, e := range edges {
		called[e] = true
	}
	for _, r := range table {
		for i, f := range r.facets {
			e := Edge{r.name, uint8(i)}
			if !called[e] {
				t.Errorf("nobody may call %s of %s", f.Name, r.name)
			}
			delete(called, e)
		}
	}
	for e := range called {
		t.Errorf("there is no facet %d of %s", e.Facet, e.Service)
	}
}

// TestAppsReachNothingElse pins what an app is handed.
func TestAppsReachNothingElse(t *testing.T) {
	for _, e := range slices.Concat(appCalls, appRoutes) {
		for _, op := range factsOf(t, e).Ops {
			if op.Need == 0 {
				t.Errorf("an app reaches operation %d of %s without a token", op.Code, e.Service)
			}
		}
	}
}

func factsOf(t *testing.T, e Edge) Facet {
	for _, r := range table {
		if r.name == e.Service {
			return r.facets[e.Facet]
		}
	}
	t.Fatalf("no service %s", e.Service)
	return Facet{}
}

// TestOperationsHaveNames: what a person reads of an operation is its name, and
// the name leads back to it.
func TestOperationsHaveNames(t *testing.T) {
	for _, r := range table {
		for _, f := range r.facets {
			for _, op := range f.Ops {
				name := wire.OpName(r.name, op.Code)
				if code, ok := wire.OpCode(r.name, name); !ok || code != op.Code {
					t.Errorf("operation %d of %s is called %q", op.Code, r.name, name)
				}
			}
		}
	}
	if name := wire.OpName("hellod", 7); name != "7" {
		t.Errorf("an operation that nobody named is called %q", name)
	}
}

// TestDaemonsThatCannotBe: an added service takes nobody's name and calls only
// what is there before it, so that calls go one way with it, too.
func TestDaemonsThatCannotBe(t *testing.T) {
	good := Daemon{Name: "hellod", Facets: []Facet{{Name: "main"}}, Calls: []Edge{{StateFSD, 0}}}
	for name, c := range map[string]struct {
		daemons []Daemon
		rows    int // 0: it is refused
	}{
		"none":           {nil, len(table)},
		"one":            {[]Daemon{good}, len(table) + 1},
		"calls another":  {[]Daemon{good, {Name: "b", Calls: []Edge{{"hellod", 0}}}}, len(table) + 2},
		"twice":          {[]Daemon{good, good}, 0},
		"a system's":     {[]Daemon{{Name: KeyMintD}}, 0},
		"init":           {[]Daemon{{Name: "init"}}, 0},
		"the launcher":   {[]Daemon{{Name: LauncherName}}, 0},
		"calls upwards":  {[]Daemon{{Name: "b", Calls: []Edge{{"hellod", 0}}}, good}, 0},
		"calls itself":   {[]Daemon{{Name: "b", Facets: []Facet{{}}, Calls: []Edge{{"b", 0}}}}, 0},
		"calls no facet": {[]Daemon{{Name: "b", Calls: []Edge{{StateFSD, 1}}}}, 0},
	} {
		rows, err := (&Config{Daemons: c.daemons}).rows()
		if (err == nil) != (c.rows > 0) || len(rows) != c.rows {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
}
