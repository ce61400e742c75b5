package rollback

import (
	"fmt"
	"strings"
	"testing"
)

const (
	window = 64  // puts that the head may be behind
	first  = 368 // bytes of a new vault, and of a batch with one short put
)

// putting is a script of that many puts, each a batch of its own.
func putting(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "put alice/notes n%d value\n", i)
	}
	return b.String()
}

// prefix is the vault as it was after that many puts. Nothing but appends
// happened to it since.
func prefix(t *testing.T, f files, puts, of int) string {
	t.Helper()
	if len(f[kvFile]) != first*(of+1) {
		t.Fatalf("%d puts take %d bytes", of, len(f[kvFile]))
	}
	return f[kvFile][:first*(puts+1)]
}

// TestEveryCopyOfAVault puts copies of the vault beside the newest head: after
// the kill of a system up to 64 puts can be taken back unnoticed, and not one
// more; after a clean end none.
func TestEveryCopyOfAVault(t *testing.T) {
	for _, c := range []struct {
		puts int
		end  string
		head int // puts that the head on the disk is about
	}{
		{window - 1, "power-cut\n", 0},
		{window, "power-cut\n", 0},
		{window + 1, "power-cut\n", window},
		{2 * window, "power-cut\n", window},
		{2*window + 1, "power-cut\n", 2 * window},
		{window + 1, "shutdown\n", window + 1},
		{window + 1, "lock alice\npower-cut\n", window + 1},
		{1, "shutdown\n", 1},
	} {
		f := life{}.must(t, fresh+putting(1, c.puts)+c.end)
		for _, n := range []int{0, c.head - 1, c.head, c.head + 1, c.puts - window - 1, c.puts - window, c.puts - window + 1, c.puts - 1, c.puts} {
			if n < 0 || n > c.puts {
				continue
			}
			copied := f.with(files{kvFile: prefix(t, f, n, c.puts)})
			name := fmt.Sprintf("%d puts and %q, and then the copy after %d", c.puts, c.end, n)
			if n < c.head {
				after := says(t, name, copied, again, rolledBack(kvFile))
				if after[kvFile] != copied[kvFile] || after[kvHead] != copied[kvHead] {
					t.Errorf("%s: the vault was changed", name)
				}
				continue
			}
			read := again
			if n > 0 {
				read += fmt.Sprintf("get alice/notes n%d value\n", n)
			}
			if n < c.puts { // What the copy lacks is gone, and nobody is told.
				read += fmt.Sprintf("fails not-found get alice/notes n%d\n", n+1)
			}
			says(t, name, copied, read, good)
		}
	}
}

// TestVaultFromBeforeACompaction: an older file is told from the compacted one,
// though it is longer than the head says.
func TestVaultFromBeforeACompaction(t *testing.T) {
	big := strings.Repeat("put alice/notes big \"0123456789abcdef\"*250\n", 12)
	before := life{}.must(t, fresh+big+"shutdown\n")
	after := life{before: before}.must(t, again+strings.Repeat("put alice/notes big \"0123456789abcdef\"*250\n", 3)+"shutdown\n")
	if len(after[kvFile]) >= len(before[kvFile]) {
		t.Fatalf("no compaction: %d bytes, then %d", len(before[kvFile]), len(after[kvFile]))
	}
	says(t, "the old file beside the new head", after.with(files{kvFile: before[kvFile]}), again, rolledBack(kvFile))
	says(t, "the old file, which is damaged", after.with(files{kvFile: before[kvFile][:len(before[kvFile])-1]}), again, damaged(kvFile))
	// A newer compaction beside an older head is what a crash leaves.
	says(t, "the new file beside the old head", after.with(files{kvHead: before[kvHead]}), again, good)
}

// TestHeadOfAnotherVault: the head of one vault is no head of another one, not
// even of the same user.
func TestHeadOfAnotherVault(t *testing.T) {
	base := life{}.must(t, "boot\n"+makeUser+"shutdown\n")
	grow := func() files {
		return life{before: base}.must(t, again+"put alice/notes name value\nshutdown\n")
	}
	one, other := grow(), grow()
	says(t, "the other vault's head", one.with(files{kvHead: other[kvHead]}), again, rolledBack(kvFile))
	says(t, "the other vault", one.with(files{kvFile: other[kvFile]}), again, rolledBack(kvFile))
	mixed := one[kvFile][:first] + other[kvFile][first:]
	says(t, "the other vault's put", one.with(files{kvFile: mixed}), again, damaged(kvFile))
	// A whole vault of a clone is good by itself; its records' key is not here.
	both := one.with(files{kvFile: other[kvFile], kvHead: other[kvHead]})
	says(t, "the other vault and its head", both, again+"get alice/notes name value\n", damaged(kvFile))
}
