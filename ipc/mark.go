package ipc

import "strings"

// Field is one value of a marker line.
type Field struct {
	Key   string
	Value string
}

// F makes a field.
func F(key, value string) Field { return Field{Key: key, Value: value} }

// Mark prints a marker line: text, then the fields as "(key=value, key=value)"
// if there are any. It is called only after the effect that it proves. Values
// are escaped, so that no name can end a line or look like another field. A
// task prints only markers that begin with one of its own beginnings, and none
// after its exit; others are dropped and counted.
func (t *Task) Mark(text string, fields ...Field) {
	k := t.kernel
	line := markLine(text, fields)
	if !t.markNow(text, len(line)) {
		return
	}
	defer k.console.Unlock()
	if k.out != nil {
		_, _ = k.out.Write([]byte(line)) // A console that is gone is no reason to stop.
	}
}

// markNow says whether the marker may be printed. If it may, it is recorded and
// the console is locked, before the kernel's lock goes: so lines keep the order
// of their records.
func (t *Task) markNow(text string, size int) bool {
	k := t.kernel
	k.lock()
	defer k.unlock()
	if !t.mayMark(text) {
		k.stats.Muted++
		return false
	}
	k.ring.add(TraceEvent{Time: k.now, From: t.id, Size: uint16(min(size, 0xffff)), Kind: TraceMark})
	k.console.Lock()
	return true
}

func (t *Task) mayMark(text string) bool {
	if t.exited {
		return false // What a handler that runs out has done, nobody can ask it for any more.
	}
	for _, begin := range t.marks {
		if strings.HasPrefix(text, begin) {
			return true
		}
	}
	return false
}

func markLine(text string, fields []Field) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c >= 0x20 && c < 0x7f {
			b.WriteByte(c)
		}
	}
	for i, f := range fields {
		if i == 0 {
			b.WriteString(" (")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(f.Key)
		b.WriteByte('=')
		b.WriteString(EscapeMark(f.Value))
	}
	if len(fields) > 0 {
		b.WriteByte(')')
	}
	b.WriteByte('\n')
	return b.String()
}

// EscapeMark writes every byte of a marker's value that could end the value,
// the line or the terminal's good behaviour as \xNN. What does not fit into
// MaxMarkValue bytes is left out.
func EscapeMark(value string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		plain := c > 0x20 && c < 0x7f && !strings.ContainsRune(`\(),="`, rune(c))
		if plain && b.Len() < MaxMarkValue {
			b.WriteByte(c)
		} else if !plain && b.Len()+len(`\xNN`) <= MaxMarkValue {
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			break
		}
	}
	return b.String()
}
