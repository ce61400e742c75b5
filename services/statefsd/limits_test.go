package statefsd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nexus.internal/os/ipc"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// longest is a path of n bytes, "state:/" included.
func longest(n int) string { return statefsd.Scheme + strings.Repeat("p", n-len(statefsd.Scheme)) }

// TestMaxWrite has the longest path around the longest content, so that the
// limit is what the frame allows in any case.
func TestMaxWrite(t *testing.T) {
	run(t, simdisk.New(), func(ctx context.Context, c client) {
		path := longest(statefsd.MaxPath)
		for n, want := range map[int]error{statefsd.MaxWrite - 1: nil, statefsd.MaxWrite: nil, statefsd.MaxWrite + 1: ipc.TooLarge} {
			wantErr(t, c.replace(ctx, path, strings.Repeat("x", n)), want)
			wantErr(t, c.replace(ctx, "state:/f", "1"), nil)
			_, err := c.append(ctx, "state:/f", 1, strings.Repeat("x", n), true)
			wantErr(t, err, want)
			if _, size, err := c.read(ctx, "state:/f", 0, 0); want != nil && size != 1 || err != nil {
				t.Errorf("%d bytes refused, and the file has %d: %v", n, size, err)
			}
		}
		_, err := c.append(ctx, path, 1<<62, strings.Repeat("x", statefsd.MaxWrite), true)
		wantErr(t, err, ipc.InvalidArgument) // it fits the frame with the longest offset, too
	})
}

func TestMaxRead(t *testing.T) {
	run(t, simdisk.New(), func(ctx context.Context, c client) {
		wantErr(t, c.replace(ctx, "state:/f", strings.Repeat("x", statefsd.MaxWrite)), nil)
		for n, want := range map[int]error{statefsd.MaxRead - 1: nil, statefsd.MaxRead: nil, statefsd.MaxRead + 1: ipc.TooLarge} {
			data, _, err := c.read(ctx, "state:/f", 0, uint32(n))
			wantErr(t, err, want)
			if want == nil && len(data) != n {
				t.Errorf("asked for %d bytes, got %d", n, len(data))
			}
		}
	})
}

func TestMaxPath(t *testing.T) {
	run(t, simdisk.New(), func(ctx context.Context, c client) {
		for n, want := range map[int]error{statefsd.MaxPath - 1: nil, statefsd.MaxPath: nil, statefsd.MaxPath + 1: ipc.Malformed} {
			wantErr(t, c.replace(ctx, longest(n), "x"), want)
			_, _, err := c.list(ctx, longest(n), "")
			wantErr(t, err, want)
		}
	})
}

// TestMaxFiles counts through every way in which files come and go.
func TestMaxFiles(t *testing.T) {
	d := simdisk.New()
	if err := d.Replace("state/old", nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Replace("boot", nil); err != nil { // beside the root: it doesn't count
		t.Fatal(err)
	}
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: d, Grants: all, MaxFiles: 3})
	c := s.client("owner")
	s.Do(c.task, func(ctx context.Context) {
		wantErr(t, c.replace(ctx, "state:/a", ""), nil)
		_, err := c.append(ctx, "state:/b", 0, "", false)
		wantErr(t, err, nil)
		full := func() {
			t.Helper()
			before := d.Hash()
			wantErr(t, c.replace(ctx, "state:/c", ""), ipc.LimitReached)
			_, err := c.append(ctx, "state:/c", 0, "", true)
			if err == nil {
				t.Error("appended past the limit")
			}
			_, err = c.append(ctx, "state:/c", 0, "x", true)
			wantErr(t, err, ipc.LimitReached)
			if d.Hash() != before {
				t.Error("a refused request changed the disk")
			}
		}
		full()
		wantErr(t, c.replace(ctx, "state:/a", "again"), nil)
		_, err = c.append(ctx, "state:/b", 0, "again", true)
		wantErr(t, err, nil)
		wantErr(t, c.rename(ctx, "state:/a", "state:/a2"), nil)
		full()
		wantErr(t, c.rename(ctx, "state:/a2", "state:/b"), nil) // one less
		wantErr(t, c.replace(ctx, "state:/c", ""), nil)
		wantErr(t, c.remove(ctx, "state:/c"), nil)
		wantErr(t, c.replace(ctx, "state:/e", ""), nil)
		wantErr(t, c.remove(ctx, "state:/none"), ipc.NotFound)
		wantErr(t, c.rename(ctx, "state:/none", "state:/none2"), ipc.NotFound)
		full()
		// What fails and leaves nothing doesn't count, either.
		wantErr(t, c.remove(ctx, "state:/e"), nil)
		d.SetFault(simdisk.FailAt(d.Calls()+1, errInjected))
		wantErr(t, c.replace(ctx, "state:/e", ""), ipc.IOError)
		wantErr(t, c.replace(ctx, "state:/e", ""), nil)
		full()
	})
}

func TestDefaultMaxFiles(t *testing.T) {
	d := simdisk.New()
	for i := range statefsd.MaxFiles - 1 {
		if err := d.Append(fmt.Sprintf("state/%d", i), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	run(t, d, func(ctx context.Context, c client) {
		wantErr(t, c.replace(ctx, "state:/n", ""), nil)
		wantErr(t, c.replace(ctx, "state:/n1", ""), ipc.LimitReached)
		wantErr(t, c.replace(ctx, "state:/n", ""), nil)
	})
}

// TestListInPages lists more than fits a frame, with the longest paths.
func TestListInPages(t *testing.T) {
	d := simdisk.New()
	var want []string
	for i := range 100 {
		rel := fmt.Sprintf("%03d", i) + strings.Repeat("x", statefsd.MaxPath-len(statefsd.Scheme)-3)
		want = append(want, statefsd.Scheme+rel)
		if err := d.Append("state/"+rel, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	run(t, d, func(ctx context.Context, c client) {
		var got []string
		pages, after := 0, ""
		for more := true; more && pages < 10; pages++ {
			var page []string
			var err error
			page, more, err = c.list(ctx, "state:/", after)
			if err != nil || len(page) == 0 {
				t.Fatalf("page %d: %d paths, %v", pages, len(page), err)
			}
			got = append(got, page...)
			after = page[len(page)-1]
		}
		if !slices.Equal(got, want) || pages != 4 {
			t.Errorf("%d paths in %d pages, want %d in 4", len(got), pages, len(want))
		}
		if page, more, err := c.list(ctx, "state:/", after); len(page) != 0 || more || err != nil {
			t.Errorf("after the last: %q, %v, %v", page, more, err)
		}
	})
}

// TestMaxList fills an answer to the last byte, and one byte more.
func TestMaxList(t *testing.T) {
	const each = 240 // bytes that a path takes in the answer
	for _, extra := range []int{-1, 0, 1} {
		d := simdisk.New()
		for i := range statefsd.MaxList / each {
			rel := fmt.Sprintf("%03d", i)
			rel += strings.Repeat("x", each-10-len(rel))
			if i == 0 {
				rel = strings.Repeat("0", each-10+extra)
			}
			if err := d.Append("state/"+rel, 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		run(t, d, func(ctx context.Context, c client) {
			page, more, err := c.list(ctx, "state:/", "")
			full := len(page) == statefsd.MaxList/each
			if err != nil || more != (extra > 0) || full == more {
				t.Errorf("%d bytes: %d paths, more %v, %v", statefsd.MaxList+extra, len(page), more, err)
			}
		})
	}
}
