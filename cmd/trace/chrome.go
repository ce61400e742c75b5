package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// Chrome writes entries in Chrome's trace-event format, as JSON that Perfetto
// opens. docs/spec/trace.md says what becomes what. Of the header it takes the
// names, never the scenario's text.
func Chrome(w io.Writer, h Header, entries iter.Seq[Entry]) error {
	c := &chrome{out: bufio.NewWriter(w), open: make(map[uint64]*flight)}
	c.begin(h)
	for e := range entries {
		c.entry(e)
	}
	c.endBoot()
	c.raw("\n]}\n")
	if err := c.out.Flush(); c.err == nil {
		c.err = err
	}
	return c.err
}

// Nanoseconds of the drawing: what lies between two boots, and how far a trace
// may go before everything is drawn at its end, one after the other.
const (
	gap      = 1_000_000
	farthest = 1 << 61
)

// firstThread is the number of the first thread. No boot has it: a thread with
// the number of its process is the main one.
const firstThread = 1 << 20

// event is one trace event.
type event struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	Time  micros         `json:"ts"`
	Dur   *micros        `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	ID    uint64         `json:"id,omitempty"`
	Bind  string         `json:"bp,omitempty"` // "e": to the slice around it
	Scope string         `json:"s,omitempty"`  // "t": its thread
	Args  map[string]any `json:"args,omitempty"`
}

// micros are nanoseconds that JSON has as microseconds with a fraction.
type micros uint64

func (m micros) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%03d", m/1000, m%1000), nil
}

// chrome writes trace events. A boot is a process. A task has a thread for what
// it serves and one for what it calls; where two slices would overlap, more.
type chrome struct {
	out  *bufio.Writer
	err  error
	some bool // events are written

	boot      int
	base, now uint64 // of the boot, of the last entry: nanoseconds of the drawing
	flows     uint64
	threads   int
	tracks    map[string]*track
	open      map[uint64]*flight
}

// track is one kind of a task's threads: no two slices of a lane overlap.
type track struct {
	name  string
	order int
	lanes []*lane
}

type lane struct {
	tid  int
	busy bool
}

// flight is a request that has no reply yet.
type flight struct {
	first           Entry  // the sending, or the delivery if that is all there is
	sent, delivered uint64 // where they are drawn
	queued          uint64 // kernel time between them
	call, serve     *lane
}

func (c *chrome) raw(text string) {
	if _, err := c.out.WriteString(text); err != nil && c.err == nil {
		c.err = err
	}
}

func (c *chrome) json(what any) {
	text, err := json.Marshal(what)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.raw(string(text))
}

func (c *chrome) begin(h Header) {
	seed := noSeed
	if !h.Live {
		seed = strconv.FormatUint(h.Seed, 10)
	}
	c.raw(`{"displayTimeUnit":"ns","otherData":`)
	c.json(map[string]string{"build": h.Build, "seed": seed, "scenario": h.Scenario})
	c.raw(`,"traceEvents":[`)
}

func (c *chrome) emit(e event) {
	if c.some {
		c.raw(",")
	}
	c.some = true
	c.raw("\n")
	e.PID = c.boot
	c.json(e)
}

// entry draws an entry.
func (c *chrome) entry(e Entry) {
	if e.Boot != c.boot {
		c.endBoot()
		c.beginBoot(e.Boot)
	}
	c.now = c.later(e.Time)
	switch e.Kind {
	case "task", "endpoint", "mark": // Names, and what its marker shows.
	case "send":
		c.send(e)
	case "deliver":
		c.deliver(e)
	case "reply":
		c.reply(e)
	case "receive":
		c.receive(e)
	case "expire":
		c.instant(e)
		c.end(e.Call, "timed out", 0)
	case "cancel":
		c.instant(e)
		c.end(e.Call, e.Code, 0)
	case "exit":
		c.instant(e)
		c.gone(e.From)
	default:
		c.instant(e)
	}
}

// later is where a kernel time is drawn: events of one instant follow each
// other by one nanosecond, so that one sees their order.
func (c *chrome) later(kernel uint64) uint64 {
	at := c.base + min(kernel, farthest)
	return max(min(at, farthest), c.now+1)
}

func (c *chrome) beginBoot(n int) {
	if c.boot != 0 {
		c.now += gap
	}
	c.boot, c.base, c.tracks = n, c.now, make(map[string]*track)
	c.emit(event{Name: "process_name", Phase: "M", Args: map[string]any{"name": fmt.Sprintf("boot %d", n)}})
	c.emit(event{Name: "process_sort_index", Phase: "M", Args: map[string]any{"sort_index": n}})
}

// endBoot ends the slices of calls that had no reply.
func (c *chrome) endBoot() {
	c.now++
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		c.end(id, "", 0)
	}
}

// gone ends the slices of a task that is no more.
func (c *chrome) gone(task string) {
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		if f := c.open[id]; f.first.From == task || f.first.To == task {
			c.end(id, "", 0)
		}
	}
}

// Threads of a task.
const (
	serving = ""
	calling = " calls"
)

// track finds one kind of a task's threads.
func (c *chrome) track(task, what string) *track {
	if task == "" {
		task = "kernel"
	}
	t := c.tracks[task+what]
	if t == nil {
		t = &track{name: task + what, order: len(c.tracks)}
		c.tracks[t.name] = t
	}
	return t
}

// lane finds a thread of a task on which nothing goes on, or begins one.
func (c *chrome) lane(task, what string) *lane {
	t := c.track(task, what)
	for _, l := range t.lanes {
		if !l.busy {
			return l
		}
	}
	return c.thread(t)
}

// first is the first of a task's threads: a point may lie on a slice.
func (c *chrome) first(task string) *lane {
	if t := c.track(task, serving); len(t.lanes) > 0 {
		return t.lanes[0]
	}
	return c.lane(task, serving)
}

// thread adds a thread to a track.
func (c *chrome) thread(t *track) *lane {
	l := &lane{tid: firstThread + c.threads}
	c.threads++
	t.lanes = append(t.lanes, l)
	name := t.name
	if n := len(t.lanes); n > 1 {
		name += fmt.Sprintf(" (%d)", n)
	}
	c.emit(event{Name: "thread_name", Phase: "M", TID: l.tid, Args: map[string]any{"name": name}})
	c.emit(event{Name: "thread_sort_index", Phase: "M", TID: l.tid, Args: map[string]any{"sort_index": t.order}})
	return l
}

// send begins a request. A message to an inbox keeps no thread busy: its sender
// does not wait.
func (c *chrome) send(e Entry) {
	c.end(e.Call, "", 0) // A trace that was tampered with may use a number twice.
	f := &flight{first: e, sent: c.now, call: c.lane(e.From, calling)}
	f.call.busy = !e.Inbox()
	c.open[e.Call] = f
}

func (c *chrome) deliver(e Entry) {
	f := c.open[e.Call]
	if f == nil { // What was sent before the drawing begins.
		f = &flight{first: e}
		c.open[e.Call] = f
	}
	if f.serve == nil {
		f.delivered, f.queued, f.serve = c.now, e.since(f.first), c.lane(e.To, serving)
		f.serve.busy = true
	}
}

// since is how much kernel time has passed since another entry; none in a trace
// whose time goes back.
func (e *Entry) since(before Entry) uint64 { return e.Time - min(e.Time, before.Time) }

func (c *chrome) reply(e Entry) {
	if c.open[e.Call] == nil {
		c.instant(e)
		return
	}
	c.end(e.Call, e.Code, e.Size)
}

// receive ends a message's way to an inbox, or is a point if nothing came.
func (c *chrome) receive(e Entry) {
	f := c.open[e.Call]
	if f == nil || f.call == nil || e.Code != "" {
		c.instant(e)
		return
	}
	args, to := arguments(e), c.lane(e.To, serving)
	args["queued_ns"] = e.since(f.first)
	c.slice(e.words(), "message", to, c.now, c.now+1, args)
	c.flow(f.call, f.sent, to, c.now)
	c.end(e.Call, "received", 0)
}

// end draws a request from its sending to its reply, and from its delivery. No
// code means that the trace has no reply.
func (c *chrome) end(id uint64, code string, size int) {
	f := c.open[id]
	if f == nil {
		return
	}
	delete(c.open, id)
	e, args := f.first, arguments(f.first)
	args["answer_bytes"], args["code"] = size, code
	if code == "" {
		args["code"] = "nothing came of it in this trace"
	}
	switch {
	case f.call == nil:
	case e.Inbox():
		c.slice("message "+e.Op, "message", f.call, f.sent, f.sent+1, args)
	default:
		f.call.busy = false
		c.slice(e.To+"."+e.Op, "call", f.call, f.sent, c.now, args)
	}
	if f.serve == nil {
		return
	}
	if f.call != nil {
		args["queued_ns"] = f.queued
		c.flow(f.call, f.sent, f.serve, f.delivered)
	}
	f.serve.busy = false
	c.slice(e.Op, "serve", f.serve, f.delivered, c.now, args)
}

func (c *chrome) slice(name, cat string, on *lane, from, to uint64, args map[string]any) {
	dur := micros(to - from)
	c.emit(event{Name: name, Cat: cat, Phase: "X", Time: micros(from), Dur: &dur, TID: on.tid, Args: args})
}

// flow draws an arrow from one slice's beginning to another's.
func (c *chrome) flow(from *lane, at uint64, to *lane, then uint64) {
	c.flows++
	c.emit(event{Name: "request", Cat: "flow", Phase: "s", Time: micros(at), TID: from.tid, ID: c.flows})
	c.emit(event{Name: "request", Cat: "flow", Phase: "f", Time: micros(then), TID: to.tid, ID: c.flows, Bind: "e"})
}

// instant draws what takes no time.
func (c *chrome) instant(e Entry) {
	name := e.words()
	switch e.Kind {
	case "refuse":
		name = "refused " + e.To + "." + e.Op
	case "reply":
		name = "reply " + e.Op
	}
	on := c.first(e.actor())
	c.emit(event{Name: name, Cat: e.Kind, Phase: "i", Time: micros(c.now), TID: on.tid, Scope: "t", Args: arguments(e)})
}

// arguments are what a line says beside who, what and when.
func arguments(e Entry) map[string]any {
	args := map[string]any{"line": e.Line, "kernel_ns": e.Time}
	for key, text := range map[string]string{
		"from": e.From, "to": e.To, "endpoint": e.At, "operation": e.Op, "slot": e.Slot, "user": e.User, "app": e.App,
		"code": e.Code, "refusal": e.Why,
	} {
		if text != "" {
			args[key] = text
		}
	}
	switch e.Kind {
	case "send", "deliver", "reply", "refuse", "receive", "syscall", "cancel", "late":
		args["call"], args["bytes"] = e.Call, e.Size
	}
	if e.SID != 0 {
		args["sid"] = e.SID
	}
	return args
}
