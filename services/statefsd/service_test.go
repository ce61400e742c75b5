package statefsd_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd"
	"nexus.internal/os/services/statefsd/disk"
	"nexus.internal/os/services/statefsd/simdisk"
	"nexus.internal/os/tests/rig"
)

// client is a task that may reach statefsd.
type client struct {
	task *ipc.Task
	slot ipc.Slot
}

func (c client) call(ctx context.Context, op uint16, q, p proto.Message) error {
	return wire.Call(ctx, c.task, ipc.Msg{Slot: c.slot, Op: op, Move: ipc.NoSlot}, q, p)
}

func (c client) read(ctx context.Context, path string, off uint64, length uint32) (data string, size uint64, err error) {
	p := new(wire.ReadFileReply)
	err = c.call(ctx, wire.OpReadFile, &wire.ReadFileRequest{Path: path, Offset: off, Length: length}, p)
	return string(p.Data), p.Size, err
}

func (c client) replace(ctx context.Context, path, data string) error {
	return c.call(ctx, wire.OpReplaceFile, &wire.ReplaceFileRequest{Path: path, Data: []byte(data)}, new(wire.ReplaceFileReply))
}

func (c client) append(ctx context.Context, path string, off uint64, data string, sync bool) (uint64, error) {
	p := new(wire.AppendFileReply)
	err := c.call(ctx, wire.OpAppendFile, &wire.AppendFileRequest{Path: path, Offset: off, Data: []byte(data), Sync: sync}, p)
	return p.Size, err
}

func (c client) truncate(ctx context.Context, path string, size uint64) error {
	return c.call(ctx, wire.OpTruncateFile, &wire.TruncateFileRequest{Path: path, Size: size}, new(wire.TruncateFileReply))
}

func (c client) rename(ctx context.Context, from, to string) error {
	return c.call(ctx, wire.OpRenameFile, &wire.RenameFileRequest{From: from, To: to}, new(wire.RenameFileReply))
}

func (c client) remove(ctx context.Context, path string) error {
	return c.call(ctx, wire.OpRemoveFile, &wire.RemoveFileRequest{Path: path}, new(wire.RemoveFileReply))
}

func (c client) list(ctx context.Context, prefix, after string) ([]string, bool, error) {
	p := new(wire.ListFilesReply)
	err := c.call(ctx, wire.OpListFiles, &wire.ListFilesRequest{Prefix: prefix, After: after}, p)
	return p.Paths, p.More, err
}

// server is a hosted statefsd.
type server struct {
	*rig.Rig
	endpoint ipc.Slot
}

func serve(r *rig.Rig, cfg statefsd.Config) server {
	t := r.Task(ipc.TaskSpec{Name: "statefsd", Marks: []string{"statefsd:"}})
	ep := r.Endpoint(t, ipc.EndpointSpec{Depth: 64, Parallel: 64, Takes: true, Ops: rig.Ops(int(wire.OpListFiles))})
	r.Host(t, func() ipc.Service { return statefsd.New(t, cfg) })
	return server{r, ep}
}

func (s server) client(name string) client {
	t := s.Task(ipc.TaskSpec{Name: name})
	return client{t, s.Connect(t, s.endpoint)}
}

// all lets "owner" do everything in directories up to three deep.
var all = []statefsd.Grant{
	{Subject: "owner", Pattern: "state:/*", Access: statefsd.Write},
	{Subject: "owner", Pattern: "state:/*/*", Access: statefsd.Write},
	{Subject: "owner", Pattern: "state:/*/*/*", Access: statefsd.Write},
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// run calls fn as "owner" of a statefsd on d.
func run(t *testing.T, d disk.Disk, fn func(ctx context.Context, c client)) {
	t.Helper()
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: d, Grants: all})
	c := s.client("owner")
	s.Do(c.task, func(ctx context.Context) { fn(ctx, c) })
}

func TestReady(t *testing.T) {
	d := simdisk.New()
	if err := d.Replace("state/f", nil); err != nil {
		t.Fatal(err)
	}
	before := d.Hash()
	s := serve(rig.NewSeeded(t, 1, nil), statefsd.Config{Disk: d, Grants: all})
	if got := s.Console(); !slices.Equal(got, []string{"statefsd: ready"}) {
		t.Errorf("console %q", got)
	}
	if d.Hash() != before || d.Calls() != 2 {
		t.Errorf("starting changed the disk, or did more than to look: %d calls", d.Calls()-1)
	}
}

// TestNotReady starts with what can't work: no marker, an error.
func TestNotReady(t *testing.T) {
	broken := simdisk.New()
	injected := errors.New("injected")
	broken.SetFault(simdisk.FailFrom(1, injected))
	grant := func(pattern string) statefsd.Config {
		return statefsd.Config{Disk: simdisk.New(), Grants: []statefsd.Grant{{Subject: "a", Pattern: pattern, Access: statefsd.Read}}}
	}
	for name, c := range map[string]struct {
		cfg  statefsd.Config
		want error
	}{
		"disk fails":       {statefsd.Config{Disk: broken}, injected},
		"no disk":          {statefsd.Config{}, statefsd.ErrConfig},
		"root":             {statefsd.Config{Disk: simdisk.New(), Root: "../x"}, statefsd.ErrConfig},
		"long root":        {statefsd.Config{Disk: simdisk.New(), Root: "sevenby"}, statefsd.ErrConfig},
		"max files":        {statefsd.Config{Disk: simdisk.New(), MaxFiles: -1}, statefsd.ErrConfig},
		"no subject":       {statefsd.Config{Disk: simdisk.New(), Grants: []statefsd.Grant{{Pattern: "state:/a"}}}, statefsd.ErrConfig},
		"pattern's scheme": {grant("/a"), statefsd.ErrConfig},
		"pattern's dots":   {grant("state:/a/../b"), statefsd.ErrConfig},
		"pattern's end":    {grant("state:/a/"), statefsd.ErrConfig},
		"pattern's bytes":  {grant("state:/a?"), statefsd.ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.NewSeeded(t, 1, nil)
			task := r.Task(ipc.TaskSpec{Name: "statefsd", Marks: []string{"statefsd:"}})
			if err := r.Engine.Host(task, func() ipc.Service { return statefsd.New(task, c.cfg) }); err != nil {
				t.Fatal(err)
			}
			r.Do(r.Init, func(ctx context.Context) { wantErr(t, r.Init.AwaitReady(ctx, task), c.want) })
			if got := r.Console(); !slices.Equal(got, []string{""}) {
				t.Errorf("console %q", got)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	d := simdisk.New()
	run(t, d, func(ctx context.Context, c client) {
		const f = "state:/dir/f"
		_, _, err := c.read(ctx, f, 0, 10)
		wantErr(t, err, ipc.NotFound)
		_, err = c.append(ctx, f, 3, "x", false)
		wantErr(t, err, ipc.NotFound)
		if size, err := c.append(ctx, f, 0, "hello", false); size != 5 || err != nil {
			t.Errorf("append: %d, %v", size, err)
		}
		_, err = c.append(ctx, f, 4, "x", true)
		wantErr(t, err, ipc.InvalidArgument)
		if size, err := c.append(ctx, f, 5, " world", true); size != 11 || err != nil {
			t.Errorf("append: %d, %v", size, err)
		}
		for _, q := range []struct {
			off    uint64
			length uint32
			want   string
		}{{0, 100, "hello world"}, {6, 3, "wor"}, {6, 5, "world"}, {6, 6, "world"}, {11, 1, ""}, {1 << 40, 1, ""}, {0, 0, ""}} {
			if data, size, err := c.read(ctx, f, q.off, q.length); data != q.want || size != 11 || err != nil {
				t.Errorf("read %d+%d: %q, %d, %v", q.off, q.length, data, size, err)
			}
		}
		wantErr(t, c.truncate(ctx, f, 12), ipc.InvalidArgument)
		wantErr(t, c.truncate(ctx, f, 5), nil)
		wantErr(t, c.replace(ctx, "state:/dir/g", "other"), nil)
		wantErr(t, c.rename(ctx, f, f), ipc.InvalidArgument)
		wantErr(t, c.rename(ctx, f, "state:/dir"), ipc.InvalidArgument)
		wantErr(t, c.rename(ctx, f, "state:/dir/g"), nil)
		wantErr(t, c.rename(ctx, f, "state:/dir/g"), ipc.NotFound)
		if data, size, err := c.read(ctx, "state:/dir/g", 0, 10); data != "hello" || size != 5 || err != nil {
			t.Errorf("read: %q, %d, %v", data, size, err)
		}
		wantErr(t, c.replace(ctx, "state:/dir/g", ""), nil)
		wantErr(t, c.remove(ctx, "state:/dir/g"), nil)
		wantErr(t, c.remove(ctx, "state:/dir/g"), ipc.NotFound)
		wantErr(t, c.truncate(ctx, "state:/dir/g", 0), ipc.NotFound)
	})
	if paths, err := d.List(""); len(paths) != 0 || err != nil {
		t.Errorf("left over: %q, %v", paths, err)
	}
}

// TestDurable cuts the power after each kind of acknowledged write.
func TestDurable(t *testing.T) {
	d := simdisk.New()
	contents := func(path string) string {
		p := make([]byte, 20)
		n, _ := d.Crash().ReadAt(path, p, 0)
		return string(p[:n])
	}
	run(t, d, func(ctx context.Context, c client) {
		step := func(err error, path, want string) {
			t.Helper()
			wantErr(t, err, nil)
			if got := contents("state/" + path); got != want {
				t.Errorf("a power cut leaves %q, want %q", got, want)
			}
		}
		_, err := c.append(ctx, "state:/f", 0, "one", false)
		step(err, "f", "")
		size, err := c.append(ctx, "state:/f", 0, "", true) // the offset doesn't matter
		if size != 3 {
			t.Errorf("sync answers size %d", size)
		}
		step(err, "f", "one")
		_, err = c.append(ctx, "state:/f", 3, "two", false)
		step(err, "f", "one")
		_, err = c.append(ctx, "state:/f", 6, "three", true)
		step(err, "f", "onetwothree")
		step(c.truncate(ctx, "state:/f", 4), "f", "onet")
		step(c.replace(ctx, "state:/f", "new"), "f", "new")
		_, err = c.append(ctx, "state:/f", 3, "er", false)
		step(err, "f", "new")
		step(c.rename(ctx, "state:/f", "state:/x/g"), "x/g", "newer")
		step(c.remove(ctx, "state:/x/g"), "x/g", "")
		_, err = c.append(ctx, "state:/none", 0, "", true)
		wantErr(t, err, ipc.NotFound)
		_, err = c.append(ctx, "state:/empty", 0, "", false)
		wantErr(t, err, nil)
		if _, size, err := c.read(ctx, "state:/empty", 0, 1); size != 0 || err != nil {
			t.Errorf("empty file: %d, %v", size, err)
		}
	})
}

func TestMalformed(t *testing.T) {
	d := simdisk.New()
	run(t, d, func(ctx context.Context, c client) {
		before := d.Calls()
		for _, p := range []string{"", "f", "/f", "state:", "state:f", "state:/", "state://f", "state:/f/", "state:/../f", "STATE:/f", "state:/f\n", "state:/~new-1", "state:/" + strings.Repeat("a", statefsd.MaxPath)} {
			_, _, err := c.read(ctx, p, 0, 1)
			wantErr(t, err, ipc.Malformed)
			_, err = c.append(ctx, p, 0, "", false)
			wantErr(t, err, ipc.Malformed)
			wantErr(t, c.replace(ctx, p, ""), ipc.Malformed)
			wantErr(t, c.truncate(ctx, p, 0), ipc.Malformed)
			wantErr(t, c.remove(ctx, p), ipc.Malformed)
			wantErr(t, c.rename(ctx, p, "state:/f"), ipc.Malformed)
			wantErr(t, c.rename(ctx, "state:/f", p), ipc.Malformed)
			if p != "" {
				_, _, err = c.list(ctx, "state:/", p)
				wantErr(t, err, ipc.Malformed)
			}
		}
		for _, p := range []string{"", "state:", "f", "state://", "state:/../", "state:/a*"} {
			_, _, err := c.list(ctx, p, "")
			wantErr(t, err, ipc.Malformed)
		}
		_, _, err := c.read(ctx, "state:/f", 1<<63, 1)
		wantErr(t, err, ipc.Malformed)
		_, err = c.append(ctx, "state:/f", 1<<63, "x", false)
		wantErr(t, err, ipc.Malformed)
		wantErr(t, c.truncate(ctx, "state:/f", 1<<63), ipc.Malformed)
		if d.Calls() != before {
			t.Errorf("malformed requests reached the disk %d times", d.Calls()-before)
		}
	})
}
