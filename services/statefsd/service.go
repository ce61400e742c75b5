package statefsd

import (
	"context"
	"errors"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/statefsd/disk"
)

// Config is what boot gives to statefsd.
type Config struct {
	// Disk has the files.
	Disk disk.Disk
	// Root is the directory of the disk below which state: is: "state" if
	// empty. It is canonical and so short that every path fits a disk's.
	Root string
	// Grants say who may use what. Nobody else may use anything.
	Grants []Grant
	// MaxFiles is how many files there may be: the constant MaxFiles if 0.
	// More that are there already can be used and removed.
	MaxFiles int
}

// service is an instance of statefsd.
type service struct {
	task     *ipc.Task
	disk     disk.Disk
	root     string // with a slash at its end
	maxFiles int
	rules    rules
	config   error
	mux      wire.Mux

	lanes    lanes
	files    map[string]bool // those that exist
	creating int             // how many the requests in progress may add
}

// New makes an instance of the service for its task. A bad configuration is
// reported by its Start.
func New(t *ipc.Task, cfg Config) ipc.Service {
	s := &service{task: t, disk: cfg.Disk, root: cfg.Root, maxFiles: cfg.MaxFiles, lanes: make(lanes)}
	if s.root == "" {
		s.root = "state"
	}
	s.root += "/"
	if s.maxFiles == 0 {
		s.maxFiles = MaxFiles
	}
	s.rules, s.config = compile(cfg.Grants)
	longest := len(s.root) + MaxPath - len(Scheme)
	if s.disk == nil || s.maxFiles < 0 || disk.CheckPrefix(s.root) != nil || longest > disk.MaxPath {
		s.config = ErrConfig
	}
	wire.On(&s.mux, wire.OpReadFile, s.read)
	wire.OnObject(&s.mux, wire.OpReplaceFile, s.replace)
	wire.OnObject(&s.mux, wire.OpAppendFile, s.append)
	wire.On(&s.mux, wire.OpTruncateFile, s.truncate)
	wire.On(&s.mux, wire.OpRenameFile, s.rename)
	wire.On(&s.mux, wire.OpRemoveFile, s.remove)
	wire.On(&s.mux, wire.OpListFiles, s.list)
	return s
}

// Start implements ipc.Service. It counts the files, and changes nothing.
func (s *service) Start(ctx context.Context) error {
	if s.config != nil {
		return s.config
	}
	paths, err := s.listDisk(ctx, "")
	if err != nil {
		return err
	}
	s.files = make(map[string]bool, len(paths))
	for _, p := range paths {
		s.files[p] = true
	}
	s.task.Mark("statefsd: ready")
	return nil
}

// Serve implements ipc.Service.
func (s *service) Serve(ctx context.Context, r *ipc.Request) { s.mux.Serve(ctx, r) }

// open parses a path and makes sure that the sender may use it.
func (s *service) open(r *ipc.Request, path string, access Access) (rel string, err error) {
	rel, err = ParsePath(path)
	if err != nil {
		return "", err
	}
	if !s.rules.allow(r.Sender.Name, rel, access) {
		return "", ipc.Denied
	}
	return rel, nil
}

// use does something with a file that creates none and removes none. do runs
// on a worker: it touches the disk and its own variables.
func (s *service) use(ctx context.Context, rel string, do func() error) error {
	turn, err := s.lanes.enter(ctx, s.task, rel)
	if err != nil {
		return err
	}
	defer s.lanes.leave(turn)
	var result error
	if err := s.task.Offload(ctx, func() { result = do() }); err != nil {
		return err
	}
	return result
}

// outcome says whether a file is there after a change that succeeds.
type outcome struct {
	rel   string
	stays bool
}

// change is use for what may create or remove files.
func (s *service) change(ctx context.Context, do func() error, after ...outcome) error {
	paths := make([]string, len(after))
	for i, o := range after {
		paths[i] = o.rel
	}
	turn, err := s.lanes.enter(ctx, s.task, paths...)
	if err != nil {
		return err
	}
	defer s.lanes.leave(turn)
	more := s.growth(after)
	if more > 0 && len(s.files)+s.creating+more > s.maxFiles {
		return ipc.LimitReached
	}
	s.creating += max(more, 0)
	var result error
	err = s.task.Offload(ctx, func() {
		if result = do(); result != nil {
			s.look(after)
		}
	})
	s.creating -= max(more, 0)
	if err != nil {
		return err
	}
	s.note(after)
	return result
}

// growth is how many files more there are after a change. One that takes away
// what isn't there fails, so that it brings nothing either.
func (s *service) growth(after []outcome) (n int) {
	for _, o := range after {
		switch exists := s.files[o.rel]; {
		case o.stays && !exists:
			n++
		case !o.stays && exists:
			n--
		case !o.stays:
			return 0
		}
	}
	return n
}

// look finds out what a failed change has left. A file that can't be looked at
// is counted as one. It runs on a worker.
func (s *service) look(after []outcome) {
	for i, o := range after {
		_, err := s.disk.Stat(s.root + o.rel)
		after[i].stays = !errors.Is(err, disk.ErrNotExist)
	}
}

func (s *service) note(after []outcome) {
	for _, o := range after {
		if o.stays {
			s.files[o.rel] = true
		} else {
			delete(s.files, o.rel)
		}
	}
}

// fault makes the answer to a failed access of the disk.
func fault(err error, path string, offset uint64) error {
	var code ipc.Code
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code):
		return code
	case errors.Is(err, disk.ErrNotExist):
		return ipc.NotFound
	case errors.Is(err, disk.ErrOffset), errors.Is(err, disk.ErrConflict):
		return ipc.InvalidArgument
	case errors.Is(err, disk.ErrClosed):
		return ipc.Unavailable
	case errors.Is(err, disk.ErrNoSpace):
		return &wire.Fault{Code: ipc.NoSpace, File: path, Offset: int64(offset)}
	}
	return &wire.Fault{Code: ipc.IOError, File: path, Offset: int64(offset)}
}
