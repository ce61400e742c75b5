package boot

import (
	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd"
)

// Names of services: what the kernel stamps on their messages.
const (
	RNGD         = "rngd"
	StateFSD     = "statefsd"
	PolicyD      = "policyd"
	KeyMintD     = "keymintd"
	IdentityD    = "identityd"
	KeyStoreD    = "keystored"
	LauncherName = "launcher"
)

// appRights are the token rights that keystored needs to see, of which any one
// lets it reach the app's records behind the vault facet.
const appRights = capability.Put | capability.Get | capability.Del | capability.List

// facet is one endpoint of a service.
type facet struct {
	name     string
	depth    int
	parallel int
	ops      []ipc.Op
}

// edge says that a service may call another one's facet.
type edge struct {
	service string
	facet   uint8
}

// row is one service: what it answers, what it may print, whom it may call.
type row struct {
	name   string
	marks  []string
	guards bool // its crash seals every session
	facets []facet
	calls  []edge
}

// table lists the services in the order of their start. Calls go one way only:
// a test shows that no chain of calls comes back to where it began, so that
// services cannot wait for each other in a circle.
var table = []row{
	{
		name: RNGD, marks: []string{"rngd:"},
		facets: []facet{{name: "entropy", depth: 64, parallel: 32, ops: plain(wire.OpEntropy)}},
	},
	{
		name: StateFSD, marks: []string{"statefsd:"},
		facets: []facet{{name: "files", depth: 128, parallel: 64, ops: plain(
			wire.OpReadFile, wire.OpReplaceFile, wire.OpAppendFile, wire.OpTruncateFile,
			wire.OpRenameFile, wire.OpRemoveFile, wire.OpListFiles)}},
	},
	{
		name: PolicyD, marks: []string{"policyd:"},
		facets: []facet{{name: "decide", depth: 64, parallel: 32, ops: plain(wire.OpDecide)}},
	},
	{
		name: KeyMintD, marks: []string{"keymintd:"}, guards: true,
		facets: []facet{
			wire.FacetAdmin: {name: "admin", depth: 32, parallel: 32, ops: append(plain(
				wire.OpCreateRoot, wire.OpAddProtector, wire.OpKeepProtectors, wire.OpRemoveRoot, wire.OpSealKeys),
				ipc.Op{Code: wire.OpUnsealKeys, Need: capability.Seal})},
			wire.FacetVault: {name: "vault", depth: 256, parallel: 256, ops: needing(appRights,
				wire.OpAppKey, wire.OpSealRecord, wire.OpOpenRecord, wire.OpSealSegment, wire.OpOpenSegment)},
			wire.FacetKeys: {name: "keys", depth: 64, parallel: 64, ops: []ipc.Op{
				{Code: wire.OpGenerateKey, Need: capability.Generate},
				{Code: wire.OpPublicKey, Need: capability.Generate | capability.Sign},
				{Code: wire.OpSign, Need: capability.Sign},
				{Code: wire.OpListKeys, Need: capability.Generate | capability.Sign},
				{Code: wire.OpDeleteKey, Need: capability.Generate},
				{Code: wire.OpWrapKey, Need: capability.Wrap},
				{Code: wire.OpUnwrapKey, Need: capability.Wrap},
			}},
		},
		calls: []edge{{RNGD, wire.FacetMain}, {StateFSD, wire.FacetMain}},
	},
	{
		name: IdentityD, marks: []string{"identityd:", "identity:"},
		facets: []facet{
			wire.FacetMain: {name: "login", depth: 64, parallel: identityd.LoginParallel, ops: plain(
				wire.OpCreateUser, wire.OpListUsers, wire.OpRemoveUser, wire.OpSetCredential,
				wire.OpStartSession, wire.OpUnsealSession, wire.OpLockSession, wire.OpEndSession,
				wire.OpActiveSession, wire.OpIssueToken)},
			wire.FacetQuery: {name: "query", depth: 64, parallel: 32, ops: plain(wire.OpActiveSession)},
		},
		calls: []edge{
			{RNGD, wire.FacetMain}, {StateFSD, wire.FacetMain}, {PolicyD, wire.FacetMain},
			{KeyMintD, wire.FacetAdmin}, {KeyStoreD, wire.FacetOpen},
		},
	},
	{
		name: KeyStoreD, marks: []string{"keystore:"},
		facets: []facet{
			wire.FacetStore: {name: "store", depth: 128, parallel: 128, ops: []ipc.Op{
				{Code: wire.OpPut, Need: capability.Put},
				{Code: wire.OpGet, Need: capability.Get},
				{Code: wire.OpDelete, Need: capability.Del},
				{Code: wire.OpList, Need: capability.List},
			}},
			wire.FacetOpen: {name: "open", depth: 32, parallel: 32, ops: append(plain(wire.OpForgetVault),
				ipc.Op{Code: wire.OpOpenVault, Need: appRights})},
		},
		calls: []edge{{StateFSD, wire.FacetMain}, {KeyMintD, wire.FacetVault}},
	},
}

// What the launcher and the apps that it starts may call.
var (
	launcherCalls = []edge{{IdentityD, wire.FacetMain}, {IdentityD, wire.FacetQuery}}
	appCalls      = []edge{{KeyStoreD, wire.FacetStore}, {KeyMintD, wire.FacetKeys}}
)

// files says who may touch which file under state:. keymintd sees whether there
// is any file at all, because a first boot is when there is none; identityd sees
// what is left of a user whose removal was cut short.
var files = []statefsd.Grant{
	{Subject: KeyMintD, Pattern: "state:/keymint/device.salt", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/root.keys", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*/*/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/users.db", Access: statefsd.Write},
	{Subject: IdentityD, Pattern: "state:/identity/*/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/*/apps/*", Access: statefsd.List},
	{Subject: KeyStoreD, Pattern: "state:/identity/*/vault.*", Access: statefsd.Write},
}

func plain(ops ...uint16) []ipc.Op { return needing(0, ops...) }

func needing(rights capability.TokenRights, ops ...uint16) []ipc.Op {
	list := make([]ipc.Op, len(ops))
	for i, op := range ops {
		list[i] = ipc.Op{Code: op, Need: rights}
	}
	return list
}
