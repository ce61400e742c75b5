package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"nexus.internal/os/services/identityd"
)

const argonHelp = "`parameters` of Argon2id for credentials that are set from now on: KiB,passes,lanes, as calibrate prints them"

// runCalibrate looks for the parameters of Argon2id under which a login takes
// about as long as it may, on this machine and now.
func runCalibrate(args []string, std streams) error {
	set := newFlags("calibrate")
	target := set.Duration("time", 500*time.Millisecond, "how long one login may take, as `time`")
	most := set.Uint("memory-max", identityd.MaxMemoryKiB>>10, "`MiB` of memory that one login may take")
	if _, err := parse(set, args, std); err != nil {
		return err
	}
	if *target <= 0 || *most == 0 || *most > identityd.MaxMemoryKiB>>10 {
		return fmt.Errorf("%w: calibrate: --time is more than 0, and --memory-max 1 to %d MiB", errUsage, identityd.MaxMemoryKiB>>10)
	}
	p := identityd.Calibrate(*target, uint32(*most)<<10, func(p identityd.Params) time.Duration {
		took := min(spend(p), spend(p)) // Once more, because others use the machine too.
		fmt.Fprintf(std.out, "%d KiB, passes %d: %d ms\n", p.MemoryKiB, p.Passes, took.Milliseconds())
		return took
	})
	_, err := fmt.Fprintf(std.out, "boot --argon %d,%d,%d\n", p.MemoryKiB, p.Passes, p.Lanes)
	return err
}

func spend(p identityd.Params) time.Duration {
	start := time.Now()
	identityd.Spend(p)
	return time.Since(start)
}

// parseArgon reads what calibrate prints. Nothing is the default.
func parseArgon(text string) (identityd.Params, error) {
	if text == "" {
		return identityd.Params{}, nil
	}
	wrong := fmt.Errorf("%w: boot: --argon %q is not KiB,passes,lanes, as %d,%d,%d, the least", errUsage, text,
		identityd.Floor().MemoryKiB, identityd.Floor().Passes, identityd.Floor().Lanes)
	words := strings.Split(text, ",")
	if len(words) != 3 {
		return identityd.Params{}, wrong
	}
	var n [3]uint64
	for i, bits := range []int{32, 32, 8} {
		var err error
		if n[i], err = strconv.ParseUint(words[i], 10, bits); err != nil {
			return identityd.Params{}, wrong
		}
	}
	p := identityd.Params{MemoryKiB: uint32(n[0]), Passes: uint32(n[1]), Lanes: uint8(n[2])}
	if p.Validate() != nil || !p.AtLeast(identityd.Floor()) {
		return identityd.Params{}, wrong
	}
	return p, nil
}
