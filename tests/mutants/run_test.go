package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// small is a module that explores nothing: its binary says what the constants
// of the package ring want it to, and so does its test.
var small = map[string]string{
	"go.mod": "module small\n\ngo 1.21\n",
	"cmd/nexus-sim/main.go": `package main

import (
	"os"

	"small/ring"
)

func main() {
	os.Stdout.WriteString(ring.Answer)
	os.Exit(ring.Status)
}
`,
	"ring/ring.go": `package ring

// Status is 1 if something is found.
const Status = 0

const Answer = "{\"seeds\":7,\"failed\":false}\n"

const Quiet = true
`,
	"ring/ring_test.go": `package ring

import "testing"

func TestQuiet(t *testing.T) {
	if !Quiet {
		t.Error("not quiet")
	}
}
`,
}

// patchOf replaces one line of ring.go, which stands between two others.
func patchOf(header, number, before, old, replaced, after string) string {
	return header + "\n\ndiff --git a/ring/ring.go b/ring/ring.go\n--- a/ring/ring.go\n+++ b/ring/ring.go\n" +
		"@@ -" + number + ",3 +" + number + ",3 @@\n " + before + "\n-" + old + "\n+" + replaced + "\n " + after + "\n"
}

// mistakes are one of each kind of verdict.
var mistakes = map[string]string{
	"01-found": "It is found.\ntests: ./ring\n\n" + `diff --git a/ring/ring.go b/ring/ring.go
--- a/ring/ring.go
+++ b/ring/ring.go
@@ -1,8 +1,8 @@
 package ring
 
 // Status is 1 if something is found.
-const Status = 0
+const Status = 1
 
-const Answer = "{\"seeds\":7,\"failed\":false}\n"
+const Answer = "{\"seeds\":3,\"failed\":true,\"seed\":3,\"check\":\"books\"}\n"
 
 const Quiet = true
`,
	"02-tested":  patchOf("A test finds it.\ntests: ./cmd/nexus-sim ./ring", "7", "", "const Quiet = true", "const Quiet = false", ""),
	"03-neither": patchOf("Nothing finds it.\ntests: ./ring -run TestOther", "7", "", "const Quiet = true", "const Quiet = false", ""),
	"04-broken":  patchOf("It does not build.", "3", "// Status is 1 if something is found.", "const Status = 0", "const Status = \"no\"", ""),
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// enter makes the small module with its mistakes and goes there.
func enter(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range small {
		write(t, root, name, text)
	}
	for name, text := range mistakes {
		if strings.HasPrefix(name, "02") || strings.HasPrefix(name, "03") {
			text = strings.TrimSuffix(text, " \n") // The line is the file's last one.
			text = strings.Replace(text, "@@ -7,3 +7,3 @@", "@@ -7,2 +7,2 @@", 1)
		}
		write(t, root, filepath.Join(folder, name+ending), text)
	}
	t.Chdir(root)
	return root
}

// runWith runs the command; times, which differ, are taken out.
func runWith(t *testing.T, ctx context.Context, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(ctx, args, &stdout, &stderr)
	times := regexp.MustCompile(`, [0-9]+ s\b`)
	return status, times.ReplaceAllString(stdout.String(), ""), stderr.String()
}

// TestRun plants one mistake of each kind in a small module.
func TestRun(t *testing.T) {
	enter(t)
	status, out, errs := runWith(t, t.Context(), "--seeds", "7")
	want := regexp.MustCompile(`^control      nothing found in 7 seeds
01-found     caught by exploration \(books\) after 3 seeds
02-tested    caught by tests ./ring \(TestQuiet\)
03-neither   NOT CAUGHT after 7 seeds and tests of ./ring
04-broken    ERROR: go build: status 1: .*
2 of 4 caught
$`)
	if status != statusFailed || !want.MatchString(out) || errs != "" {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if status, out, errs = runWith(t, t.Context(), "--only", "01"); status != 0 || !strings.HasSuffix(out, "\n1 of 1 caught\n") || errs != "" {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

// TestRunEnds: what ends a run at once, and leaves nothing behind.
func TestRunEnds(t *testing.T) {
	root := enter(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	if status, _, errs := runWith(t, t.Context(), "05-none"); status != statusUsage || !strings.Contains(errs, "05-none") {
		t.Errorf("status %d: %s", status, errs)
	}
	write(t, root, "ring/ring.go", strings.Replace(small["ring/ring.go"], "Quiet", "Silent", 1))
	if status, out, errs := runWith(t, t.Context()); status != statusFailed || out != "" || !strings.Contains(errs, "02-tested") || strings.Contains(errs, "04-broken") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	write(t, root, "ring/ring.go", strings.Replace(small["ring/ring.go"], "Status = 0", "Status = 1", 1))
	if status, out, errs := runWith(t, t.Context(), "--only", "02"); status != statusFailed || out != "" || !strings.Contains(errs, "control") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status, _, _ := runWith(t, ctx); status != statusInterrupted {
		t.Errorf("status %d", status)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
