package boot

import (
	"slices"
	"testing"
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
	edges := slices.Concat(launcherCalls, appCalls)
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
	for _, e := range appCalls {
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
