// Package policyd is the only decider: deny by default, the subject is the
// sender that the kernel stamped, and what is allowed stands in one table.
//
// It keeps the rules that boot gave it and a bounded log of audit records. It
// calls nobody. It never reads a file, never writes one, and never keeps what a
// request was about: a record holds a keyed digest of the target.
//
// Parse and Rules.Decide are the core, pure and without state; Service puts
// them behind an endpoint.
package policyd
