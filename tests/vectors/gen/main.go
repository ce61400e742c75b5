// Command gen writes the vectors in tests/vectors and lists them.
//
//	go run ./tests/vectors/gen [FOLDER]
//
// It builds every byte by hand, from docs/IPC.md, docs/spec/frames.md,
// docs/spec/ks1.md, docs/spec/identity.md and the schemas in ipc/wire, and uses none of the code that
// the vectors test: it is another implementation of the formats, and where the
// two disagree, one of them or the specification is wrong. The same sources
// always write the same bytes.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// files are all files of vectors.
func files() []file {
	return append([]file{headerFile(), envelopeFile(), routeFile(), tokenFile(), ks1File(), guessesFile()}, serviceFiles()...)
}

func main() {
	folder := "tests/vectors"
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	if err := write(folder, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}

// write writes all files into folder, and what they hold to list.
func write(folder string, list io.Writer) error {
	total := 0
	for _, f := range files() {
		if err := os.WriteFile(filepath.Join(folder, f.name), f.json(), 0o644); err != nil {
			return err
		}
		total += f.count()
		fmt.Fprintf(list, "%5d  %-16s %s\n", f.count(), f.name, strings.Join(f.lists(), ", "))
	}
	fmt.Fprintf(list, "%5d  in total\n", total)
	return nil
}
