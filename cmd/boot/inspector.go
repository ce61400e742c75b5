package boot

import (
	"nexus.internal/os/ipc"
	"nexus.internal/os/services/policyd"
)

// Inspector is who may look: its task holds the only inspector capability, and
// nothing else. Making it is the decision to let somebody look; no service has
// one, and none is made unless it is asked for.
type Inspector struct {
	system *System
	task   *ipc.Task
	slot   ipc.Slot
}

// Inspector returns the system's inspector, and makes its task the first time.
func (s *System) Inspector() (*Inspector, error) {
	s.launching.Lock()
	defer s.launching.Unlock()
	if s.inspector != nil {
		return s.inspector, nil
	}
	t, err := s.Kernel.NewTask(ipc.TaskSpec{Name: InspectorName, Parent: s.init.ID()})
	if err != nil {
		return nil, err
	}
	slot, err := s.Kernel.GrantInspector(t)
	if err != nil {
		t.Exit()
		return nil, err
	}
	s.inspector = &Inspector{system: s, task: t, slot: slot}
	return s.inspector, nil
}

// View shows who holds what, and what is queued.
func (i *Inspector) View() (ipc.View, error) { return i.task.Inspect(i.slot) }

// Denials answers the kernel's newest n audit records, at most those that it
// keeps, oldest first.
func (i *Inspector) Denials(n int) ([]ipc.Denial, error) {
	all, err := i.task.Denials(i.slot, ipc.AuditID{}, ipc.MaxDenials)
	return all[max(0, len(all)-n):], err
}

// Denial answers one of the kernel's audit records, or NotFound.
func (i *Inspector) Denial(id ipc.AuditID) (ipc.Denial, error) { return i.task.Explain(i.slot, id) }

// Decisions answers policyd's newest decisions, oldest first, those that allow
// something included. They are in memory that boot shares with policyd alone.
func (i *Inspector) Decisions() []policyd.Record {
	kept, _ := i.system.Audit.Records()
	return kept
}
