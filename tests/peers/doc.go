// Package peers holds the benchmarks that compare the project with others who
// do the same work: actors, channels and RPC beside a checked call; databases
// and a bare append beside a durable put. It is a module of its own, so that
// nothing it imports reaches the project's go.mod.
//
// A benchmark is a table of peers. Each peer becomes one sub-benchmark named
// peer=…, which benchstat puts into a column; the first is what the others are
// compared with. The project's own side is one more line in callPeers
// (call_test.go) and putPeers (put_test.go), with its opener in nexus_test.go.
//
// It never tests the project: what must hold is tested beside the code.
package peers
