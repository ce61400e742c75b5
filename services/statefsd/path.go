package statefsd

import (
	"strings"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd/disk"
)

// Scheme begins every path that a request names.
const Scheme = "state:/"

// ParsePath takes "state:/" off a path. Any spelling but the canonical one is
// ipc.Malformed: 1 to MaxPath bytes with parts as disk.CheckPath has them.
func ParsePath(path string) (rel string, err error) {
	rel, ok := strings.CutPrefix(path, Scheme)
	if !ok || len(path) > MaxPath || disk.CheckPath(rel) != nil {
		return "", ipc.Malformed
	}
	return rel, nil
}

// parsePrefix is ParsePath for the beginning of a path, with "state:/" being
// the one of all.
func parsePrefix(prefix string) (rel string, err error) {
	rel, ok := strings.CutPrefix(prefix, Scheme)
	if !ok || len(prefix) > MaxPath || disk.CheckPrefix(rel) != nil {
		return "", ipc.Malformed
	}
	return rel, nil
}
