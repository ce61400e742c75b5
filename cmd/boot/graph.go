package boot

import (
	"fmt"
	"slices"
	"strings"
)

// GrantGraph draws who may call whose facets, as a Mermaid flowchart. It is
// drawn from the table that boot itself goes by.
func GrantGraph() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	arrow := func(from string, e Edge) {
		label := find(table, e.Service).facets[e.Facet].Name
		fmt.Fprintf(&b, "  %s -->|%s| %s\n", from, label, e.Service)
	}
	for _, e := range launcherCalls {
		arrow(LauncherName, e)
	}
	for _, e := range slices.Concat(appCalls, appRoutes) {
		arrow("app", e)
	}
	for i := len(table) - 1; i >= 0; i-- {
		for _, e := range table[i].calls {
			arrow(table[i].name, e)
		}
	}
	return b.String()
}
