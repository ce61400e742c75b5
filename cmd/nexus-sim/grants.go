package main

import (
	"fmt"

	"nexus.internal/os/cmd/boot"
)

// runGrants draws the grant graph.
func runGrants(args []string, std streams) error {
	if _, err := parse(newFlags("grants"), args, std); err != nil {
		return err
	}
	_, err := fmt.Fprint(std.out, boot.GrantGraph())
	return err
}
