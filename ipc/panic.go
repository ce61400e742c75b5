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

func frames() string {
	pcs := make([]uintptr, maxFrames)
	walk := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)])
	var b strings.Builder
	for {
		frame, more := walk.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			file := frame.File[strings.LastIndexByte(frame.File, '/')+1:]
			fmt.Fprintf(&b, "%s (%s:%d) ", frame.Function, file, frame.Line)
		}
		if !more {
			return strings.TrimSpace(b.String())
		}
	}
}
