// Package flood boots the whole system and lets one app flood everything that
// it can reach, while others go on with their work: another user's app, another
// app of the same user, and the launcher, which locks, unseals and ends. None of
// them may fail, and the memory that all this takes stays below the bound of
// docs/IPC.md, "Memory bound". Benchmarks show what the flood does to latency.
package flood
