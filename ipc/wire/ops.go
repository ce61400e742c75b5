package wire

import (
	"maps"
	"slices"
	"strconv"
)

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
	OpCreateRecovery
	OpRemoveCredential
	OpUninstallApp
	OpRekey
)

// Opcodes of keymintd's admin facet.
const (
	OpCreateRoot uint16 = iota + 1
	OpAddProtector
	OpKeepProtectors
	OpRemoveRoot
	OpUnsealKeys
	OpSealKeys
	OpRemoveApp
	OpBeginRekey
	OpCommitRekey
)

// Opcodes of keymintd's vault facet.
const (
	OpAppKey uint16 = iota + 16
	OpSealRecord
	OpOpenRecord
	OpSealSegment
	OpOpenSegment
	OpVaultID
	OpVaultEpoch
	OpResealRecord
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
	OpRotateKey
	OpRevokeKey
	OpSealData
	OpUnsealData
)

// Opcodes of keystored: the store facet, and identityd's open facet.
const (
	OpPut uint16 = iota + 1
	OpGet
	OpDelete
	OpList
	OpOpenVault
	OpForgetVault
	OpKS1 // the ks1 facet's: one frame of KS v1, and one back
	OpDropApp
	OpRekeyVault
)

// Opcodes of init.
const (
	OpRoute uint16 = 1 // one routing frame, and one back
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
	FacetKS1   uint8 = 2 // keystored: the apps', in the target OS's bytes
)

// operations names every service's operations, for people.
var operations = map[string]map[string]uint16{
	"init": {"Route": OpRoute},
	"rngd": {"Entropy": OpEntropy},
	"statefsd": {
		"ReadFile": OpReadFile, "ReplaceFile": OpReplaceFile, "AppendFile": OpAppendFile, "TruncateFile": OpTruncateFile,
		"RenameFile": OpRenameFile, "RemoveFile": OpRemoveFile, "ListFiles": OpListFiles,
	},
	"policyd": {"Decide": OpDecide},
	"identityd": {
		"CreateUser": OpCreateUser, "ListUsers": OpListUsers, "RemoveUser": OpRemoveUser, "SetCredential": OpSetCredential,
		"StartSession": OpStartSession, "UnsealSession": OpUnsealSession, "LockSession": OpLockSession,
		"EndSession": OpEndSession, "ActiveSession": OpActiveSession, "IssueToken": OpIssueToken,
		"CreateRecovery": OpCreateRecovery, "RemoveCredential": OpRemoveCredential, "UninstallApp": OpUninstallApp,
		"Rekey": OpRekey,
	},
	"keymintd": {
		"CreateRoot": OpCreateRoot, "AddProtector": OpAddProtector, "KeepProtectors": OpKeepProtectors,
		"RemoveRoot": OpRemoveRoot, "UnsealKeys": OpUnsealKeys, "SealKeys": OpSealKeys, "RemoveApp": OpRemoveApp,
		"BeginRekey": OpBeginRekey, "CommitRekey": OpCommitRekey,
		"AppKey": OpAppKey, "SealRecord": OpSealRecord, "OpenRecord": OpOpenRecord,
		"SealSegment": OpSealSegment, "OpenSegment": OpOpenSegment, "VaultID": OpVaultID,
		"VaultEpoch": OpVaultEpoch, "ResealRecord": OpResealRecord,
		"GenerateKey": OpGenerateKey, "PublicKey": OpPublicKey, "Sign": OpSign, "ListKeys": OpListKeys,
		"DeleteKey": OpDeleteKey, "WrapKey": OpWrapKey, "UnwrapKey": OpUnwrapKey,
		"RotateKey": OpRotateKey, "RevokeKey": OpRevokeKey, "SealData": OpSealData, "UnsealData": OpUnsealData,
	},
	"keystored": {
		"Put": OpPut, "Get": OpGet, "Delete": OpDelete, "List": OpList, "OpenVault": OpOpenVault, "ForgetVault": OpForgetVault, "KS1": OpKS1,
		"DropApp": OpDropApp, "RekeyVault": OpRekeyVault,
	},
}

// OpCode finds a service's operation by its name.
func OpCode(service, name string) (uint16, bool) {
	op, ok := operations[service][name]
	return op, ok
}

// OpName is the name of a service's operation, or its number.
func OpName(service string, op uint16) string {
	for name, code := range operations[service] {
		if code == op {
			return name
		}
	}
	return strconv.Itoa(int(op))
}

// OpNames lists the names of a service's operations, by their numbers.
func OpNames(service string) []string {
	names := slices.Collect(maps.Keys(operations[service]))
	slices.SortFunc(names, func(a, b string) int { return int(operations[service][a]) - int(operations[service][b]) })
	return names
}
