// Package schema shows that the committed wire code is what the schemas say:
// each schema is compiled here and compared with the descriptor inside the
// generated file. It takes a fraction of the time that generating takes.
package schema

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "nexus.internal/os/ipc/wire" // registers the descriptors
)

const wireDir = "../../../ipc/wire"

// compile reads one schema; files instead of the disk's are given by name.
func compile(name string, files map[string]string) (*descriptorpb.FileDescriptorProto, error) {
	source := &protocompile.SourceResolver{ImportPaths: []string{wireDir}}
	if files != nil {
		source.Accessor = protocompile.SourceAccessorFromMap(files)
		source.ImportPaths = nil
	}
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(source)}
	compiled, err := compiler.Compile(context.Background(), name)
	if err != nil {
		return nil, err
	}
	return protodesc.ToFileDescriptorProto(compiled[0]), nil
}

// generated is the descriptor inside the generated file of a schema.
func generated(t *testing.T, name string) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file, err := protoregistry.GlobalFiles.FindFileByPath(name)
	if err != nil {
		t.Fatalf("no generated code: %v", err)
	}
	return protodesc.ToFileDescriptorProto(file)
}

func names(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(wireDir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	found := make(map[string]bool)
	for _, path := range paths {
		base := filepath.Base(path)
		found[base[:len(base)-len(pattern)+1]] = true
	}
	return found
}

func TestGeneratedCodeMatchesSchemas(t *testing.T) {
	schemas, code := names(t, "*.proto"), names(t, "*.pb.go")
	for name := range code {
		if !schemas[name] {
			t.Errorf("%s.pb.go has no %s.proto", name, name)
		}
	}
	for name := range schemas {
		t.Run(name, func(t *testing.T) {
			want, err := compile(name+".proto", nil)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(want, generated(t, name+".proto")) {
				t.Errorf("%s.pb.go is not what %s.proto says: make proto", name, name)
			}
		})
	}
}

// A changed schema is seen: one byte of a field number is enough.
func TestChangedSchemaIsSeen(t *testing.T) {
	const schema = `syntax = "proto3";
package nexus.os.v1;
option go_package = "nexus.internal/os/ipc/wire";
message M { bytes value = 1; }`
	const changed = `syntax = "proto3";
package nexus.os.v1;
option go_package = "nexus.internal/os/ipc/wire";
message M { bytes value = 2; }`
	one, err := compile("m.proto", map[string]string{"m.proto": schema})
	if err != nil {
		t.Fatal(err)
	}
	two, err := compile("m.proto", map[string]string{"m.proto": changed})
	if err != nil {
		t.Fatal(err)
	}
	if proto.Equal(one, two) {
		t.Error("a changed field number was not seen")
	}
}
