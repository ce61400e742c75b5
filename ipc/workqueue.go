package ipc

// workQueue is a first-in first-out queue whose memory is used again.
type workQueue struct {
	items []*Work
	head  int
}

func (q *workQueue) push(w *Work) { q.items = append(q.items, w) }

// drop takes w out if it is the newest.
func (q *workQueue) drop(w *Work) bool {
	last := len(q.items) - 1
	if last < q.head || q.items[last] != w {
		return false
	}
	q.items[last] = nil
	q.items = q.items[:last]
	if q.head == last {
		q.items, q.head = q.items[:0], 0
	}
	return true
}

func (q *workQueue) empty() bool { return q.head == len(q.items) }

func (q *workQueue) pop() *Work {
	if q.head == len(q.items) {
		return nil
	}
	w := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return w
}
