package crash

import (
	"fmt"
	"iter"
	"math/rand/v2"

	"nexus.internal/os/services/statefsd/simdisk"
)

// A loss of a disk, in words.
type loss struct {
	name string
	loss simdisk.Loss
}

// each makes a loss of what is left of every file.
func each(name string, changes int, left func(u simdisk.Unsynced) simdisk.Left) loss {
	return loss{name, simdisk.Loss{Changes: changes, File: left}}
}

func all(int) bool { return true }

// care says how many losses of a disk are looked at. The zero value is all that
// are not by chance.
type care struct {
	noHoles bool // lost sectors are at a file's end only
	sectors int  // about so many of a file's sectors are lost, one by one; 0 is all
	subsets int  // of what is left, by chance
}

// losses yields what a power cut may do to a disk: nothing of what was not
// synced is left, all of it, entries and lengths without bytes, the beginning of
// each file up to every sector, all but one sector, and subsets by chance.
func losses(d *simdisk.Disk, c care, chance *rand.Rand) iter.Seq[loss] {
	return func(yield func(loss) bool) {
		files, changes := d.Unsynced()
		if !yield(loss{name: "nothing left"}) || len(files) == 0 && changes == 0 {
			return
		}
		everything := func(simdisk.Unsynced) simdisk.Left { return simdisk.Left{Entry: true, Sector: all} }
		if !yield(each("all left", changes, everything)) ||
			!yield(each("entries left", changes, func(simdisk.Unsynced) simdisk.Left { return simdisk.Left{Entry: true} })) ||
			!yield(each("lengths left", changes, func(simdisk.Unsynced) simdisk.Left { return simdisk.Left{Entry: true, Size: true} })) {
			return
		}
		for _, f := range files {
			step := 1
			if c.sectors > 0 {
				step += f.Sectors / c.sectors
			}
			for n := 0; n < f.Sectors; n += step {
				begins := func(i int) bool { return i < n }
				but := func(i int) bool { return i != n }
				if !yield(each(fmt.Sprintf("%d sectors of %s left", n, f.Path), changes, alone(f.Path, begins, everything))) {
					return
				}
				if !c.noHoles && !yield(each(fmt.Sprintf("sector %d of %s lost", n, f.Path), changes, alone(f.Path, but, everything))) {
					return
				}
			}
			missing := func(u simdisk.Unsynced) simdisk.Left {
				if u.Path == f.Path {
					return simdisk.Left{}
				}
				return everything(u)
			}
			if !yield(each(f.Path+" lost", changes, missing)) {
				return
			}
		}
		for i := range changes {
			if !yield(each(fmt.Sprintf("%d changes left", i), i, everything)) {
				return
			}
		}
		for range c.subsets {
			seed := chance.Uint64()
			if !yield(loss{fmt.Sprintf("subset %#x", seed), subset(seed, changes)}) {
				return
			}
		}
	}
}

// alone says what is left of one file's sectors, and of the others what others
// says.
func alone(path string, sector func(int) bool, others func(simdisk.Unsynced) simdisk.Left) func(simdisk.Unsynced) simdisk.Left {
	return func(u simdisk.Unsynced) simdisk.Left {
		if u.Path != path {
			return others(u)
		}
		return simdisk.Left{Entry: true, Sector: sector}
	}
}

// subset leaves by chance: one sector in four of a file is left, or half of them,
// or three in four.
func subset(seed uint64, changes int) simdisk.Loss {
	chance := rand.New(rand.NewPCG(seed, 1))
	return simdisk.Loss{Changes: chance.IntN(changes + 1), File: func(u simdisk.Unsynced) simdisk.Left {
		share := 1 + chance.IntN(3)
		left := make([]bool, u.Sectors)
		for i := range left {
			left[i] = chance.IntN(4) < share
		}
		return simdisk.Left{
			Entry:  chance.IntN(4) > 0,
			Size:   chance.IntN(4) == 0,
			Sector: func(i int) bool { return left[i] },
		}
	}}
}
