package oracle

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"nexus.internal/os/services/keystored/vault"
)

// patience bounds how long porcupine may think about one history. None takes
// nearly as long; one that does is counted as undecided.
const patience = 20 * time.Second

// linearizable has porcupine judge each user's history.
func (o *Oracle) linearizable() error {
	model := o.model()
	for _, name := range slices.Sorted(maps.Keys(o.users)) {
		var ops []porcupine.Operation
		for _, op := range o.users[name].history {
			if op.outcome == void || op.outcome == unknown && !op.changes() {
				continue
			}
			ops = append(ops, porcupine.Operation{Input: op, Call: op.call, Return: op.ret})
		}
		switch porcupine.CheckOperationsTimeout(model, ops, patience) {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			o.undecided++
			continue
		}
		check := "linearizable"
		if lostAcknowledged(o.users[name].history) {
			check = "durable"
		}
		return &Violation{check, fmt.Sprintf("no order of %s's %d operations explains what they answered", name, len(ops))}
	}
	return nil
}

// lostAcknowledged says whether a name was read as absent that has been put and
// never been deleted: the plainest way for a history to be wrong.
func lostAcknowledged(history []*operation) bool {
	type name struct{ app, name string }
	put, deleted := make(map[name]int64), make(map[name]bool)
	for _, op := range history {
		at := name{op.app, op.name}
		switch {
		case op.kind == opPut && op.outcome == done:
			if t, ok := put[at]; !ok || op.ret < t {
				put[at] = op.ret
			}
		case op.kind == opDelete:
			deleted[at] = true
		case op.kind == opUninstall:
			deleted[name{op.app, ""}] = true
		}
	}
	for _, op := range history {
		at := name{op.app, op.name}
		if t, ok := put[at]; ok && op.kind == opGet && op.verdict == "not-found" && op.call > t && !deleted[at] && !deleted[name{op.app, ""}] {
			return true
		}
	}
	return false
}

// contents is what a vault holds, with what it uses. It is never changed.
type contents struct {
	digest uint64               // of values: equal contents have equal ones
	values map[[2]string]string // by app and name; keys have names of their own
	secret vault.Usage
	apps   map[string]vault.Usage
}

// model is a vault as it should be: one operation at a time. An operation of
// unknown outcome happens or does not.
func (o *Oracle) model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{&contents{}} },
		Step: func(state, input, _ any) []any {
			c, op := state.(*contents), input.(*operation)
			switch op.outcome {
			case unknown:
				if next := c.apply(op, o.quotas); next != nil && next != c {
					return []any{c, next}
				}
				return []any{c}
			case done:
				if next := c.apply(op, o.quotas); next != nil {
					return []any{next}
				}
			case failed:
				if c.refuses(op, o.quotas) {
					return []any{c}
				}
			}
			return nil
		},
		Equal: func(a, b any) bool {
			c, d := a.(*contents), b.(*contents)
			return c.digest == d.digest && maps.Equal(c.values, d.values)
		},
	}
	return m.ToModel()
}

// keySpace is where signing keys are, beside the secrets.
const keySpace = "\x00keys"

func (op *operation) at() [2]string {
	switch op.kind {
	case opGenerate, opSign, opDeleteKey, opKeys, opUnwrap, opDestroyKeys:
		return [2]string{op.app + keySpace, op.name}
	}
	return [2]string{op.app, op.name}
}

// apply is what a successful operation leaves, nil if it cannot have succeeded.
func (c *contents) apply(op *operation, q vault.Limits) *contents {
	at := op.at()
	value, there := c.values[at]
	switch op.kind {
	case opPut:
		if c.over(op, q) {
			return nil
		}
		return c.with(at, op.value)
	case opGenerate, opUnwrap:
		if there {
			return nil
		}
		return c.with(at, "key")
	case opGet:
		if there && value == op.value {
			return c
		}
	case opSign:
		if there {
			return c
		}
	case opDelete, opDeleteKey:
		if there {
			return c.without(at)
		}
	case opUninstall, opDestroyKeys:
		return c.withoutAll(at[0])
	case opList, opKeys:
		if slices.Equal(c.names(at[0]), op.names) {
			return c
		}
	}
	return nil
}

// refuses says whether the verdict of an operation that failed is right.
func (c *contents) refuses(op *operation, q vault.Limits) bool {
	_, there := c.values[op.at()]
	switch op.verdict {
	case "quota":
		return op.kind == opPut && c.over(op, q)
	case "exists":
		return op.kind == opGenerate && there || op.kind == opUnwrap
	}
	return !there
}

func (c *contents) names(app string) (names []string) {
	for at := range c.values {
		if at[0] == app {
			names = append(names, at[1])
		}
	}
	slices.Sort(names)
	return names
}

func usage(name, value string) vault.Usage {
	return vault.Usage{Secrets: 1, Bytes: uint64(len(name) + len(value))}
}

func plus(u, v vault.Usage) vault.Usage {
	return vault.Usage{Secrets: u.Secrets + v.Secrets, Bytes: u.Bytes + v.Bytes}
}
func minus(u, v vault.Usage) vault.Usage {
	return vault.Usage{Secrets: u.Secrets - v.Secrets, Bytes: u.Bytes - v.Bytes}
}

// over says whether a put goes over a quota. What does not grow never does.
func (c *contents) over(op *operation, q vault.Limits) bool {
	user, app := c.secret, c.apps[op.app]
	more, freed := usage(op.name, op.value), vault.Usage{}
	if old, there := c.values[op.at()]; there {
		freed = usage(op.name, old)
	}
	return exceeds(app, plus(minus(app, freed), more), q.AppSecrets, q.AppBytes) ||
		exceeds(user, plus(minus(user, freed), more), q.UserSecrets, q.UserBytes)
}

func exceeds(before, after vault.Usage, secrets, bytes uint64) bool {
	return after.Secrets > max(secrets, before.Secrets) || after.Bytes > max(bytes, before.Bytes)
}

// with is the contents after something was stored, without those after it was
// taken away.
func (c *contents) with(at [2]string, value string) *contents {
	next := c.without(at)
	next.values[at] = value
	next.digest += digest(at, value)
	if !strings.HasSuffix(at[0], keySpace) {
		u := usage(at[1], value)
		next.secret, next.apps[at[0]] = plus(next.secret, u), plus(next.apps[at[0]], u)
	}
	return next
}

func (c *contents) without(at [2]string) *contents {
	next := &contents{digest: c.digest, values: maps.Clone(c.values), secret: c.secret, apps: maps.Clone(c.apps)}
	if next.values == nil {
		next.values, next.apps = make(map[[2]string]string), make(map[string]vault.Usage)
	}
	if old, there := next.values[at]; there {
		delete(next.values, at)
		next.digest -= digest(at, old)
		if !strings.HasSuffix(at[0], keySpace) {
			u := usage(at[1], old)
			next.secret, next.apps[at[0]] = minus(next.secret, u), minus(next.apps[at[0]], u)
		}
	}
	return next
}

// withoutAll is the contents after all of an app was taken away.
func (c *contents) withoutAll(app string) *contents {
	for _, name := range c.names(app) {
		c = c.without([2]string{app, name})
	}
	return c
}

func digest(at [2]string, value string) uint64 {
	h := fnv.New64a()
	for _, word := range []string{at[0], at[1], value} {
		_, _ = h.Write([]byte(word)) // A hash takes every write.
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}
