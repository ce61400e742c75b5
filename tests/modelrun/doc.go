// Package modelrun drives the model of tests/model and a kernel with the same
// operations and compares: every answer, who was woken with what, what services
// were told, and after each step every table, queue, waiter and budget.
//
// The kernel runs by seed. Each operation is a flow of control of its own, and
// several may begin in one step: the seed says in which order they reach the
// kernel and when services take their turns. The driver notes that order, and
// the model is asked whether it is one of its own.
//
// `nexus-sim replay` runs kept disagreements with it, so the package and the
// model are in a binary: they import no testing package, and tests/rules holds
// them to what holds for everything that is shipped.
package modelrun
