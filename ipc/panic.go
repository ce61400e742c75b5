package ipc

import (
	"fmt"
	"runtime"
	"strings"
)

// PanicReport is where a service panicked. It names places in the source and
// never a value: what was panicked with may hold a secret.
type PanicReport struct {
	Task   string
	Frames string
	Asked  bool // by Task.Panic or an Injector
	Start  bool // it is no panic: a new instance could not start
}

func (p *PanicReport) Error() string { return "service panicked at " + p.Frames }

// maxFrames bounds the places a PanicReport names.
const maxFrames = 16

// catch runs fn and reports its panic, if it panics.
func catch(fn func()) (report *PanicReport) {
	defer func() {
		if r := recover(); r != nil {
			if inner, ok := r.(*PanicReport); ok {
				report = inner
				return
			}
			report = &PanicReport{Frames: frames()}
		}
	}()
	fn()
	return nil
}

// frames are the places from which a deferred function's panic came, the
// innermost first. The callers of catch's deferred function are not among them.
func frames() string { return strings.Join(places(maxFrames), " ") }

// places lists the places on the stack below the caller's caller's caller.
func places(limit int) (all []string) {
	pcs := make([]uintptr, limit)
	walk := runtime.CallersFrames(pcs[:runtime.Callers(5, pcs)])
	for {
		frame, more := walk.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			file := frame.File[strings.LastIndexByte(frame.File, '/')+1:]
			all = append(all, fmt.Sprintf("%s (%s:%d)", frame.Function, file, frame.Line))
		}
		if !more {
			return all
		}
	}
}

// guard is deferred by whoever holds the kernel's lock and does not defer its
// release. What panics under the lock is the kernel itself: nobody knows what
// was half done, and nobody else must see it. So the lock is kept, and the
// process ends right here, before a handler's deferred calls run into the lock.
func (k *Kernel) guard() {
	if r := recover(); r != nil {
		k.broken(r)
	}
}

// maxBrokenFrames bounds the places that the end of a broken kernel names.
const maxBrokenFrames = 64

// broken ends the process. Like a PanicReport it names places and no value, but
// for the texts of the Go runtime, which hold none but indices and types.
func (k *Kernel) broken(value any) {
	why := fmt.Sprintf("a panic with a %T", value)
	if e, ok := value.(runtime.Error); ok {
		why = e.Error()
	}
	k.exec.Fatal("ipc: the kernel panicked while it held its lock: " + why + "\n" + strings.Join(places(maxBrokenFrames), "\n"))
}
