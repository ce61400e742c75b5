// Package boot puts the system together: which services there are, who may call
// whom, who may touch which file, in which order they start. All of that is in
// one table. A service gets the capabilities that its row names and no others.
//
// Boot runs as init does on the target OS: it makes the tasks and endpoints,
// hands out capabilities, and starts one service after the other. It writes to
// the disk only when it knows that everything that is there can be read.
package boot
