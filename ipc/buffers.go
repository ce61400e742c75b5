package ipc

// Classes of payload buffers, in bytes. Small requests must not pay for large
// ones in memory traffic, and a buffer has at most four times its payload, so
// that what is queued takes little more than the budgets say.
var bufferClasses = [...]int{64, 256, 1024, 4096, MaxFrame}

// maxFreeBuffers bounds how many buffers of one class wait to be used again.
const maxFreeBuffers = 64

// bufferPool keeps wiped buffers for payloads. The kernel's lock guards it.
type bufferPool struct {
	free [len(bufferClasses)][][]byte
}

// take returns a buffer of n bytes, n at most MaxFrame.
func (p *bufferPool) take(n int) []byte {
	if n == 0 {
		return nil
	}
	for i, size := range bufferClasses {
		if n > size {
			continue
		}
		last := len(p.free[i]) - 1
		if last < 0 {
			return make([]byte, n, size)
		}
		b := p.free[i][last]
		p.free[i] = p.free[i][:last]
		return b[:n]
	}
	return nil
}

// give wipes a buffer and keeps it for later.
func (p *bufferPool) give(b []byte) {
	b = b[:cap(b)]
	clear(b)
	for i, size := range bufferClasses {
		if len(b) == size && len(p.free[i]) < maxFreeBuffers {
			p.free[i] = append(p.free[i], b)
		}
	}
}
