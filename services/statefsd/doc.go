// Package statefsd serves the files under state:, the only disk there is.
//
// It keeps no content: every answer is read from the disk, and a write is
// acknowledged when it is what the request asked for, durable or not. It calls
// nobody but its disk (package disk), in work that it gives to the kernel's
// workers, so that a read never waits for another file's sync. Requests on one
// path are done in the order in which they came; those on different paths run
// side by side.
//
// Who may touch which path is said by Config.Grants, held against the sender
// that the kernel stamped. Whatever isn't granted is Denied before anything
// looks at the disk. It never tells a stranger whether a file exists, never
// answers an error of the disk with "not found" or with an empty file, and
// never reaches outside its directory.
package statefsd

import "nexus.internal/os/ipc"

// Limits. A request with MaxWrite bytes of content, or a reply with MaxRead,
// fits a frame with everything that is around it.
const (
	MaxRead   = 7168          // bytes that one read answers
	MaxWrite  = 7680          // bytes of content in one append or replace, in a frame
	MaxList   = 7680          // bytes of paths in one list's answer
	MaxPath   = 255           // bytes of a path, "state:/" included
	MaxObject = ipc.MaxMemory // bytes of content in one append or replace, in a memory object
	MaxFiles  = 16384         // files, if Config doesn't say otherwise
)
