package keystored

import (
	"context"
	"errors"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/keystored/ks1"
)

// ks1 answers one frame of the target OS's protocol with another one: the same
// secrets under the same names as the store facet has. docs/spec/ks1.md says
// which answer stands for what.
func (s *service) ks1(ctx context.Context, req *ipc.Request) {
	q, status := ks1.ParseRequest(req.Body)
	answer := ks1.Response{Op: q.Op, Status: status}
	if status == ks1.OK {
		answer.Value, answer.Status = s.ks1Do(ctx, req, q)
	}
	defer clear(answer.Value)
	b, err := answer.Append(make([]byte, 0, ks1.MaxResponse))
	defer clear(b)
	if err != nil {
		wire.Refuse(req, ipc.Unavailable)
		return
	}
	_ = req.Reply(ipc.OK, b) // Who left, or lost the session meanwhile, gets no value.
}

// ks1Do does what a well-formed request asks for. The endpoint takes a token
// with any right to the app's secrets, so that the operation's own is asked for
// here.
func (s *service) ks1Do(ctx context.Context, req *ipc.Request, q ks1.Request) ([]byte, ks1.Status) {
	needs := map[ks1.Op]capability.TokenRights{ks1.Put: capability.Put, ks1.Get: capability.Get, ks1.Del: capability.Del}[q.Op]
	if req.Stamp.Rights&needs == 0 {
		return nil, ks1.Deny
	}
	name := string(q.Key)
	switch q.Op {
	case ks1.Put:
		_, err := s.put(ctx, req, &wire.PutRequest{Name: name, Value: q.Value})
		return nil, ks1Status(err)
	case ks1.Del:
		_, err := s.delete(ctx, req, &wire.DeleteRequest{Name: name})
		return nil, ks1Status(err)
	}
	p, err := s.get(ctx, req, &wire.GetRequest{Name: name})
	if err != nil {
		return nil, ks1Status(err)
	}
	if len(p.Value) > ks1.MaxValue || p.Size > 0 {
		clear(p.Value)
		return nil, ks1.TooLarge
	}
	return p.Value, ks1.OK
}

// ks1Status is how the target OS says what a code says. Whatever it has no word
// for is a refusal: never "not found", because a client may take that for leave
// to make the secret anew.
func ks1Status(err error) ks1.Status {
	switch {
	case err == nil:
		return ks1.OK
	case errors.Is(err, ipc.NotFound):
		return ks1.NotFound
	case errors.Is(err, ipc.Malformed):
		return ks1.Malformed
	case errors.Is(err, ipc.TooLarge), errors.Is(err, ipc.Quota):
		return ks1.TooLarge
	}
	return ks1.Deny
}
