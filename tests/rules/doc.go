// Package rules tests the architecture: imports are capabilities, so who may
// import what is written down once, in table_test.go, and checked here over
// every Go file of the module, whatever build tags it carries.
//
// The checks read sources only; they have no types. So they see imports, names
// used through an import, statements and comments, and they are strict where
// they can't tell. broken_test.go shows for each of them that it can fail.
package rules
