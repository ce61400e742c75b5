// Package scenarios holds the scenarios that the system ships, one file each,
// and plays all of them: by several seeds, and with real goroutines, time and
// disk. `nexus-sim run FILE` plays one.
package scenarios
