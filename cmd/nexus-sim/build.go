package main

import (
	"runtime/debug"

	"nexus.internal/os/ipc"
)

type (
	traceEvent = ipc.TraceEvent
	kernelView = ipc.View
)

// commit is what the Makefile says that the sources are of.
var commit string

// buildID is the commit that this binary was built from, as far as it knows.
func buildID() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	switch {
	case revision == "":
		return "unknown"
	case changed:
		return revision + "-changed"
	}
	return revision
}
