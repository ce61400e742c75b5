package rules

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// testsAlone is a package that has nothing but tests.
const testsAlone = "tests/ui_v18b_host"

// goodTree has a file for every row of the table, and breaks no rule.
func goodTree() fstest.MapFS {
	root := fstest.MapFS{"go.mod": {Data: []byte("module m.test/os\n\ngo 1.26.0\n")}}
	for _, r := range table {
		name := r.pkg[strings.LastIndex(r.pkg, "/")+1:]
		if strings.HasPrefix(r.pkg, "cmd/") {
			name = "main"
		}
		file := r.pkg + "/doc.go"
		if r.pkg == testsAlone {
			file = testsAlone + "/doc_test.go"
		}
		root[file] = &fstest.MapFile{Data: fmt.Appendf(nil, "// Package %s is.\npackage %s\n", name, name)}
	}
	return root
}

// findings runs all checks of the sources over the good tree with these files
// added, or put in the place of others.
func findings(t *testing.T, files map[string]string) (all []string) {
	t.Helper()
	root := goodTree()
	for name, source := range files {
		root[name] = &fstest.MapFile{Data: []byte(source)}
	}
	module, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []func(*tree) []finding{checkImports, checkDoors, checkTags, checkTidy} {
		for _, f := range check(module) {
			all = append(all, f.String())
		}
	}
	slices.Sort(all)
	return all
}

// A breach is one file that is added to the good tree, and the one finding that
// follows: its line, and a part of its text. At line 0 nothing is found, and
// text says why. Code without a package clause gets one, on line 1, and then
// starts on line 3.
type breach struct {
	path, code string
	line       int
	text       string
}

func (b breach) source() string {
	if strings.Contains(b.code, "package ") {
		return b.code
	}
	return "package " + path.Base(path.Dir(b.path)) + "\n\n" + b.code + "\n"
}

func TestRulesCanFail(t *testing.T) {
	if found := findings(t, nil); len(found) != 0 {
		t.Fatalf("the good tree: %q", found)
	}
	for _, b := range slices.Concat(importBreaches, doorBreaches, tagBreaches, tidyBreaches) {
		t.Run(b.path+" "+b.text, func(t *testing.T) {
			found := findings(t, map[string]string{b.path: b.source()})
			start := fmt.Sprintf("%s:%d: ", b.path, b.line)
			switch {
			case b.line == 0 && len(found) != 0:
				t.Errorf("found %q, want nothing", found)
			case b.line != 0 && (len(found) != 1 || !strings.HasPrefix(found[0], start) || !strings.Contains(found[0], b.text)):
				t.Errorf("found %q, want one that starts with %q and has %q", found, start, b.text)
			}
		})
	}
}

var importBreaches = []breach{
	{"ipc/a.go", `import _ "m.test/os/ipc/wire"`, 3, "ipc may not import /ipc/wire: "},
	{"ipc/a.go", `import _ "m.test/os/capability"`, 0, "may"},
	{"ipc/a_test.go", `import _ "m.test/os/ipc/wire"`, 0, "tests may"},
	{"services/keychain/a.go", `import _ "golang.org/x/sys/unix"`, 3, "may not import golang.org/x/sys/unix"},
	{"services/policyd/a.go", `import _ "m.test/os/services/keymintd"`, 3, "services/keymintd"},
	{"services/policyd/a.go", `import _ "m.test/os/tests/x"`, 3, "tests/x"},
	{"cmd/boot/a.go", "package main\nimport _ \"m.test/os/services/keymintd\"", 0, "all may"},
	{"cmd/boot/a.go", "package main\nimport _ \"m.test/os/tests/x\"", 2, "tests/x"},
	{"services/new/a.go", "// Package new is.\npackage new", 2, "no row"},
	{"tests/new/a.go", "// Package new is.\npackage new", 2, "no row"},
	{"tests/new/a_test.go", "// Package new is.\npackage new", 2, "no row"},
	{"tests/rig/a.go", `import _ "m.test/os/services/keymintd"`, 3, "services/keymintd"},
	{"tests/rig/a_test.go", `import _ "m.test/os/services/keymintd"`, 3, "services/keymintd"},
	{"tests/ui_v18b_host/a_test.go", `import _ "m.test/os/services/keymintd"`, 0, "all may"},
	{"tests/ui_v18b_host/a_test.go", `import _ "m.test/os/cmd/script"`, 3, "cmd/script"},
	{"cmd/script/a.go", "package main\nimport _ \"m.test/os/services/statefsd/disk\"", 2, "statefsd/disk"},
	{"cmd/nexus-sim/a.go", "package main\nimport _ \"m.test/os/services/keymintd\"", 2, "services/keymintd"},
}

var doorBreaches = []breach{
	{"ipc/a_test.go", `import _ "github.com/asynkron/protoactor-go/actor"`, 3, "only for [actors]"},
	{"tests/rig/a.go", `import . "strings"`, 3, "dot-import"},
	{"actors/a.go", `import _ "github.com/asynkron/protoactor-go/actor"`, 0, "the only one"},
	{"services/keystored/a.go", `import "google.golang.org/protobuf/proto"; var _ = proto.Marshal`, 3, "wire alone"},
	{"services/keystored/a.go", `import "google.golang.org/protobuf/proto"; var _ proto.Message`, 0, "a type"},
	{"ipc/wire/a.go", `import _ "google.golang.org/protobuf/encoding/prototext"`, 3, "never formatted"},
	{"ipc/a.go", `import r "crypto/rand"; var _ = r.Reader`, 3, "crypto/rand"},
	{"services/rngd/a.go", `import _ "crypto/rand"`, 0, "the only one"},
	{"ipc/a.go", `import _ "math/rand/v2"`, 3, "math/rand/v2"},
	{"actors/seeded/a.go", `import _ "math/rand/v2"`, 0, "by a seed"},
	{"services/keymintd/a.go", `import "crypto/ed25519"; var _ = ed25519.GenerateKey`, 3, "draws its own chance"},
	{"services/statefsd/a.go", `import _ "os"`, 3, "only the disk"},
	{"services/statefsd/a_test.go", `import _ "os"`, 0, "tests may"},
	{"services/statefsd/a.go", "import f \"path/filepath\"\nvar _ = f.Walk", 4, "only the disk"},
	{"services/statefsd/disk/a.go", `import _ "os"`, 0, "the disk"},
	{"cmd/nexus-sim/a.go", "package main\nimport _ \"os\"", 0, "the command"},
	{"cmd/script/a.go", "package main\nimport _ \"os\"", 2, "only the disk"},
	{"cmd/script/a.go", "package main\nimport _ \"flag\"", 2, "the command line"},
	{"cmd/nexus-sim/a.go", "package main\nimport _ \"testing\"", 2, "whether it is tested"},
	{"tests/modelrun/a.go", `import _ "os"`, 3, "only the disk"},
	{"tests/modelrun/a.go", `import _ "pgregory.net/rapid"`, 3, "whether it is tested"},
	{"tests/modelrun/a_test.go", `import _ "pgregory.net/rapid"`, 0, "tests may"},
	{"tests/model/a.go", "func f() {\n\tgo f()\n}", 4, "go is only for"},
	{"tests/rig/a.go", `import _ "os"`, 0, "tests may, and no binary has it"},
	{"cmd/nexus-sim/a.go", "package main\nimport \"fmt\"\nvar _ = fmt.Println", 3, "the console"},
	{"actors/a.go", `import _ "net/http"`, 3, "net/http"},
	{"ipc/a.go", "import clock \"time\"\nvar now = clock.Now", 4, "time.Now is only for"},
	{"ipc/a.go", `import "time"; var _ = time.Second`, 0, "a duration is no clock"},
	{"ipc/a.go", `import "context"; var _ = context.WithTimeout`, 3, "deadlines"},
	{"ipc/a.go", "func f() {\n\tgo f()\n}", 4, "go is only for"},
	{"actors/a.go", "func f() {\n\tgo f()\n}", 0, "the executor"},
	{"ipc/a.go", `import "sync"; var group sync.WaitGroup`, 3, "sync.WaitGroup is only for"},
	{"services/rngd/a.go", `import "iter"; var _ = iter.Pull[int]`, 3, "iter.Pull is only for"},
	{"services/keystored/a.go", `import _ "crypto/cipher"`, 3, "nobody can wipe"},
	{"services/keymintd/aead.go", `import _ "crypto/hkdf"`, 3, "nobody can wipe"},
	{"services/keymintd/primitive/a.go", `import _ "golang.org/x/crypto/chacha20"`, 0, "its parts"},
	{"services/keymintd/aead.go", `import "crypto/ed25519"; var _ = ed25519.Sign`, 3, "no private key"},
	{"services/keystored/a.go", `import "crypto/ed25519"; var _ = ed25519.Sign`, 3, "no private key"},
	{"services/keystored/a.go", `import "crypto/ed25519"; var _ = ed25519.Verify`, 0, "open to all"},
	{"ipc/a.go", `import _ "log/slog"`, 3, "log/slog"},
	{"ipc/a.go", `import "fmt"; func f() { fmt.Println() }`, 3, "the console"},
	{"ipc/a.go", "func f() { println() }", 3, "the console"},
	{"ipc/a.go", `import _ "testing"`, 3, "whether it is tested"},
	{"ipc/a_test.go", `import _ "unsafe"`, 3, "unsafe"},
	{"ipc/wire/a.pb.go", "// Code generated by x. DO NOT EDIT.\n\npackage wire\nimport _ \"unsafe\"", 0, "generated"},
	{"ipc/a.go", "//go:linkname f runtime.f\nfunc f()", 3, "go:linkname"},
	{"ipc/a_test.go", `import . "strings"`, 3, "dot-import"},
}

var tagBreaches = []breach{
	{"ipc/a.go", "//go:build insecure_deterministic\n\npackage ipc", 1, "only for [services/rngd"},
	{"ipc/a_test.go", "//go:build linux && !insecure_deterministic\n\npackage ipc", 1, "only for [services/rngd"},
	{"services/rngd/a.go", "//go:build insecure_deterministic\n\npackage rngd", 0, "the seeded source"},
	{"tests/rig/a_test.go", "//go:build insecure_deterministic\n\npackage rig", 0, "its tests"},
	{"ipc/a.go", "//go:build ignore\n\npackage ipc", 1, "build tag ignore"},
	{"ipc/a.go", "//go:build linux && (amd64 || arm64)\n\npackage ipc", 0, "where it runs"},
}

// lines is a file of the package ipc with so many lines.
func lines(n int) string { return "package ipc\n" + strings.Repeat("\n", n-1) }

var tidyBreaches = []breach{
	{"ipc/a.go", lines(maxLines - 1), 0, "a line less"},
	{"ipc/a.go", lines(maxLines), 0, "as many lines"},
	{"ipc/a.go", lines(maxLines + 1), 1, "451 lines"},
	{"ipc/a_test.go", lines(maxLines + 1), 0, "a test"},
	{"ipc/wire/a.pb.go", "// Code generated by x. DO NOT EDIT.\n\n" + lines(maxLines+1), 0, "generated"},
	{"ipc/wire/a.pb.go", "", 1, "does not say so"},
	{"ipc/a.go", "// Code generated by hand. DO NOT EDIT.\n\npackage ipc", 3, "only for ipc/wire"},
	{"ipc/a.go", "var a = 1 //nolint", 3, "switched off"},
	{"ipc/a_test.go", "//lint:ignore U1000 why not\nvar a = 1", 3, "switched off"},
	{"tests/rig/doc.go", "// Package util is.\npackage util", 2, "what its package is for"},
	{"tests/rig/doc.go", "", 1, "no comment"},
	{"tests/rig/doc.go", "// This is rig.\npackage rig", 2, "no comment"},
	{testsAlone + "/doc_test.go", "", 1, "no comment"},
	{testsAlone + "/doc_test.go", "// Package ui_v18b_host is.\npackage ui_v18b_host", 0, "tests alone"},
	{"tests/a/testdata/a.go", "package util", 0, "no part of the module"},
}

func TestRowOfNobody(t *testing.T) {
	root := goodTree()
	delete(root, "ipc/doc.go")
	module, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	if found := checkImports(module); len(found) != 1 || !strings.Contains(found[0].text, "the row of ipc is nobody's") {
		t.Errorf("found %v", found)
	}
}

// A module below this one keeps its imports to itself, but not its tidiness.
func TestNestedModule(t *testing.T) {
	const foreign = "import _ \"github.com/asynkron/protoactor-go/actor\"\n"
	found := findings(t, map[string]string{
		"tests/peers/go.mod":  "module m.test/os/tests/peers\n",
		"tests/peers/a.go":    "// Package peers is.\npackage peers\n" + foreign + "var a = 1 //nolint\n",
		"tests/peerless/a.go": "// Package peerless is.\npackage peerless\n" + foreign,
	})
	if len(found) != 3 || !strings.HasPrefix(found[0], "tests/peerless/a.go:2: ") ||
		!strings.HasPrefix(found[1], "tests/peerless/a.go:3: ") || !strings.HasPrefix(found[2], "tests/peers/a.go:4: ") {
		t.Errorf("found %q", found)
	}
}

func TestBigFileIsFound(t *testing.T) {
	root := fstest.MapFS{}
	for name, size := range map[string]int{"less": maxFileSize - 1, "full": maxFileSize, "over": maxFileSize + 1} {
		root[name] = &fstest.MapFile{Data: make([]byte, size)}
	}
	found, err := checkSizes(root, []string{"less", "full", "over"})
	if err != nil || len(found) != 1 || found[0].path != "over" {
		t.Errorf("found %v, %v", found, err)
	}
}
