// Package script drives a booted system with the verbs that scenarios use: one
// command a line, words separated by spaces, Go's double-quoted strings for
// words with anything else in them, # for comments. docs/SCRIPT.md shows every
// verb at work, and Verbs is their one list.
//
// Every line has one outcome. A verb that fails ends the script with file, line
// and the reason, unless the line began with `fails KIND`, which then wants
// just that.
//
// The package keeps the sessions and apps that a script has started, and calls
// the system only as its launcher and its apps can. It never reports a
// credential or a value that a script contains; what `get` has read, it does.
package script
