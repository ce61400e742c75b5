package ipc

import "time"

// Limits of the kernel, those of the target OS where it has them.
const (
	MaxFrame = 8192 // bytes of one payload

	MaxDepth          = 256       // requests queued at one endpoint
	MaxOwnerBytes     = 256 << 10 // bytes queued at the endpoints of one task
	MaxSystemBytes    = 1 << 20   // bytes queued in the whole system
	MaxEndpoints      = 384
	MaxOwnerEndpoints = 96
	MaxFacets         = 256 // endpoints made for one task, those since closed included
	MaxParallel       = 256 // requests of one endpoint being served at once
	MaxWaiting        = 64  // flows of control of one task that wait for room at one endpoint

	MaxMemory       = 128 << 10 // bytes of one memory object
	MaxOwnerMemory  = 1 << 20   // bytes of the memory objects of one task
	MaxSystemMemory = 8 << 20   // bytes of memory objects in the whole system

	MaxOps       = 64      // opcodes are below this
	MaxTasks     = 4096    // live tasks
	MaxSessions  = 64      // live sessions
	MaxTokens    = 4096    // live tokens, all sessions together
	MaxTaskName  = 64      // bytes
	MaxMarkValue = 1024    // bytes of a value in a marker line: the longest name, each byte of it escaped
	TraceEntries = 1 << 12 // events kept in the trace ring
	MaxDenials   = 1024    // records kept in the audit ring
)

// DefaultTimeout bounds every call that has no earlier deadline.
const DefaultTimeout = 30 * time.Second

// The queue budgets must nest: one endpoint may fill its owner's budget, and
// the system's budget holds more than one owner.
const (
	_ = uint(MaxSystemBytes - MaxOwnerBytes)
	_ = uint(MaxDepth*MaxFrame - MaxOwnerBytes)
	_ = uint(MaxOwnerMemory - MaxMemory)
	_ = uint(MaxSystemMemory - 2*MaxOwnerMemory)
)
