// Package fuzz has the fuzz targets of the live system. Those of decoders stand
// beside the decoders; docs/FUZZING.md lists all.
package fuzz
