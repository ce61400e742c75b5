package wire

// Opcodes, one block per service. They are append-only: a number is never
// used again for something else.
const (
	OpEntropy uint16 = 1 // rngd
)

// Opcodes of statefsd.
const (
	OpReadFile uint16 = iota + 1
	OpReplaceFile
	OpAppendFile
	OpTruncateFile
	OpRenameFile
	OpRemoveFile
	OpListFiles
)

// Opcodes of policyd.
const (
	OpDecide uint16 = 1
)

// Opcodes of identityd: the login facet, and the query facet's one.
const (
	OpCreateUser uint16 = iota + 1
	OpListUsers
	OpRemoveUser
	OpSetCredential
	OpStartSession
	OpUnsealSession
	OpLockSession
	OpEndSession
	OpActiveSession
	OpIssueToken
)

// Opcodes of keymintd's admin facet.
const (
	OpCreateRoot uint16 = iota + 1
	OpAddProtector
	OpKeepProtectors
	OpRemoveRoot
	OpUnsealKeys
	OpSealKeys
)

// Opcodes of keymintd's vault facet.
const (
	OpAppKey uint16 = iota + 16
	OpSealRecord
	OpOpenRecord
	OpSealSegment
	OpOpenSegment
)

// Opcodes of keymintd's keys facet.
const (
	OpGenerateKey uint16 = iota + 32
	OpPublicKey
	OpSign
	OpListKeys
	OpDeleteKey
	OpWrapKey
	OpUnwrapKey
)

// Opcodes of keystored: the store facet, and identityd's open facet.
const (
	OpPut uint16 = iota + 1
	OpGet
	OpDelete
	OpList
	OpOpenVault
	OpForgetVault
)

// Facets: which of a service's endpoints a request came through.
const (
	FacetMain uint8 = 0 // a service's only endpoint; identityd's login; keystored's store

	FacetQuery uint8 = 1 // identityd: active()

	FacetAdmin uint8 = 0 // keymintd: identityd's
	FacetVault uint8 = 1 // keymintd: keystored's
	FacetKeys  uint8 = 2 // keymintd: the apps'

	FacetStore uint8 = 0 // keystored: the apps'
	FacetOpen  uint8 = 1 // keystored: identityd's
)
