package policyd

import (
	"context"
	"slices"

	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
)

// Config is what boot gives policyd.
type Config struct {
	// Rules is the parsed policy; nil denies everything.
	Rules *Rules
	// EnforcementPoints are the senders that may ask for another subject than
	// themselves. All others are denied and audited when they do.
	EnforcementPoints []string
	// Services are the names that are no app's: the rule for any app never
	// holds for them.
	Services []string
	// DigestKey is drawn at each boot; see Digest.
	DigestKey [DigestKeySize]byte
	// Boot is the number of the boot, for the records' ids.
	Boot uint32
	// Log keeps the audit records over the service's restarts; with nil, the
	// service keeps its own.
	Log *AuditLog
	// Audit, if set, is called with every record, by the service itself: it
	// must not block.
	Audit func(Record)
}

// Service answers Decide.
type Service struct {
	task *ipc.Task
	cfg  Config
	mux  wire.Mux
}

// New makes the service; boot hosts it on t.
func New(t *ipc.Task, cfg Config) *Service {
	if cfg.Rules == nil {
		cfg.Rules = &Rules{}
	}
	if cfg.Log == nil {
		cfg.Log = &AuditLog{}
	}
	s := &Service{task: t, cfg: cfg}
	wire.On(&s.mux, wire.OpDecide, s.decide)
	return s
}

// Start says that the service is ready.
func (s *Service) Start(context.Context) error {
	s.task.Mark("policyd: ready")
	return nil
}

// Serve answers one request.
func (s *Service) Serve(ctx context.Context, r *ipc.Request) { s.mux.Serve(ctx, r) }

func (s *Service) decide(_ context.Context, r *ipc.Request, q *wire.DecideRequest) (*wire.DecideReply, error) {
	subject, why := r.Sender.Name, ReasonNotEnforcer
	allow := false
	if q.Subject == "" || q.Subject == subject || slices.Contains(s.cfg.EnforcementPoints, subject) {
		if q.Subject != "" {
			subject = q.Subject
		}
		allow, why = s.cfg.Rules.Decide(Question{
			Subject: subject,
			IsApp:   !slices.Contains(s.cfg.Services, subject),
			Action:  q.Action,
			Target:  q.Target,
		})
	}
	if why == ReasonTooLarge || why == ReasonNotCanonical {
		subject = r.Sender.Name
	}
	s.audit(subject, q, allow, why)
	switch why {
	case ReasonTooLarge:
		return nil, ipc.TooLarge
	case ReasonNotCanonical:
		return nil, ipc.Malformed
	case ReasonNotEnforcer:
		return nil, ipc.Denied
	}
	return &wire.DecideReply{Allow: allow}, nil
}

func (s *Service) audit(subject string, q *wire.DecideRequest, allow bool, why Reason) {
	record := Record{
		Boot:        s.cfg.Boot,
		TimestampNS: s.task.Now(),
		Subject:     subject,
		Target:      Digest(&s.cfg.DigestKey, q.Target),
		Allow:       allow,
		Reason:      why,
	}
	if canonicalAction(q.Action) {
		record.Action = q.Action
	}
	record = s.cfg.Log.Add(record)
	if s.cfg.Audit != nil {
		s.cfg.Audit(record)
	}
}
