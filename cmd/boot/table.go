package boot

import (
	"slices"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/ipc/wire"
	"nexus.internal/os/services/identityd"
	"nexus.internal/os/services/statefsd"
)

// Names of services: what the kernel stamps on their messages.
const (
	initName     = "init"
	RNGD         = "rngd"
	StateFSD     = "statefsd"
	PolicyD      = "policyd"
	KeyMintD     = "keymintd"
	IdentityD    = "identityd"
	KeyStoreD    = "keystored"
	LauncherName = "launcher"

	InspectorName = "inspector"
)

// appRights are the token rights that keystored needs to see, of which any one
// lets it reach the app's records behind the vault facet.
const appRights = capability.Put | capability.Get | capability.Del | capability.List

// Facet is one endpoint of a service.
type Facet struct {
	Name     string
	Depth    int  // requests that may wait
	Parallel int  // requests that may be served at once
	Raw      bool // messages to it are bare bytes, without a nonce
	Takes    bool // a memory object may come along, for what exceeds a frame
	Ops      []ipc.Op
}

// Edge names a service's facet, for those who may call it.
type Edge struct {
	Service string
	Facet   uint8
}

// row is one service: what it answers, what it may print, whom it may call.
type row struct {
	name   string
	marks  []string
	guards bool // its crash seals every session
	facets []Facet
	calls  []Edge
	route  uint8 // the facet that its bare name stands for in a routing request
}

// table lists the services in the order of their start. Calls go one way only:
// a test shows that no chain of calls comes back to where it began, so that
// services cannot wait for each other in a circle.
var table = []row{
	{
		name: RNGD, marks: []string{"rngd:"},
		facets: []Facet{{Name: "entropy", Depth: 64, Parallel: 32, Ops: plain(wire.OpEntropy)}},
	},
	{
		name: StateFSD, marks: []string{"statefsd:"},
		facets: []Facet{{Name: "files", Depth: 128, Parallel: 64, Takes: true, Ops: plain(
			wire.OpReadFile, wire.OpReplaceFile, wire.OpAppendFile, wire.OpTruncateFile,
			wire.OpRenameFile, wire.OpRemoveFile, wire.OpListFiles)}},
	},
	{
		name: PolicyD, marks: []string{"policyd:"},
		facets: []Facet{{Name: "decide", Depth: 64, Parallel: 32, Ops: plain(wire.OpDecide)}},
	},
	{
		name: KeyMintD, marks: []string{"keymintd:"}, guards: true, route: wire.FacetKeys,
		facets: []Facet{
			wire.FacetAdmin: {Name: "admin", Depth: 32, Parallel: 32, Ops: append(plain(
				wire.OpCreateRoot, wire.OpAddProtector, wire.OpKeepProtectors, wire.OpRemoveRoot, wire.OpSealKeys),
				ipc.Op{Code: wire.OpUnsealKeys, Need: capability.Seal}, ipc.Op{Code: wire.OpRemoveApp, Need: capability.Seal},
				ipc.Op{Code: wire.OpBeginRekey, Need: capability.Seal}, ipc.Op{Code: wire.OpCommitRekey, Need: capability.Seal})},
			wire.FacetVault: {Name: "vault", Depth: 256, Parallel: 256, Takes: true, Ops: needing(appRights,
				wire.OpAppKey, wire.OpSealRecord, wire.OpOpenRecord, wire.OpSealSegment, wire.OpOpenSegment, wire.OpVaultID,
				wire.OpVaultEpoch, wire.OpResealRecord)},
			wire.FacetKeys: {Name: "keys", Depth: 64, Parallel: 64, Ops: []ipc.Op{
				{Code: wire.OpGenerateKey, Need: capability.Generate},
				{Code: wire.OpPublicKey, Need: capability.Generate | capability.Sign},
				{Code: wire.OpSign, Need: capability.Sign},
				{Code: wire.OpListKeys, Need: capability.Generate | capability.Sign},
				{Code: wire.OpDeleteKey, Need: capability.Generate},
				{Code: wire.OpWrapKey, Need: capability.Wrap},
				{Code: wire.OpUnwrapKey, Need: capability.Wrap},
				{Code: wire.OpRotateKey, Need: capability.Generate},
				{Code: wire.OpRevokeKey, Need: capability.Generate},
				{Code: wire.OpSealData, Need: capability.Seal},
				{Code: wire.OpUnsealData, Need: capability.Seal},
			}},
		},
		calls: []Edge{{RNGD, wire.FacetMain}, {StateFSD, wire.FacetMain}},
	},
	{
		name: IdentityD, marks: []string{"identityd:", "identity:"},
		facets: []Facet{
			wire.FacetMain: {Name: "login", Depth: 64, Parallel: identityd.LoginParallel, Ops: plain(
				wire.OpCreateUser, wire.OpListUsers, wire.OpRemoveUser, wire.OpSetCredential,
				wire.OpStartSession, wire.OpUnsealSession, wire.OpLockSession, wire.OpEndSession,
				wire.OpActiveSession, wire.OpIssueToken,
				wire.OpCreateRecovery, wire.OpRemoveCredential, wire.OpUninstallApp, wire.OpRekey)},
			wire.FacetQuery: {Name: "query", Depth: 64, Parallel: 32, Ops: plain(wire.OpActiveSession)},
		},
		calls: []Edge{
			{RNGD, wire.FacetMain}, {StateFSD, wire.FacetMain}, {PolicyD, wire.FacetMain},
			{KeyMintD, wire.FacetAdmin}, {KeyStoreD, wire.FacetOpen},
		},
	},
	{
		name: KeyStoreD, marks: []string{"keystore:"}, route: wire.FacetKS1,
		facets: []Facet{
			wire.FacetStore: {Name: "store", Depth: 128, Parallel: 128, Takes: true, Ops: []ipc.Op{
				{Code: wire.OpPut, Need: capability.Put},
				{Code: wire.OpGet, Need: capability.Get},
				{Code: wire.OpDelete, Need: capability.Del},
				{Code: wire.OpList, Need: capability.List},
			}},
			wire.FacetOpen: {Name: "open", Depth: 32, Parallel: 32, Ops: append(plain(wire.OpForgetVault),
				ipc.Op{Code: wire.OpOpenVault, Need: appRights}, ipc.Op{Code: wire.OpDropApp, Need: capability.Del},
				ipc.Op{Code: wire.OpRekeyVault, Need: capability.Put})},
			wire.FacetKS1: {Name: "ks1", Depth: 32, Parallel: 32, Raw: true, Ops: needing(appRights, wire.OpKS1)},
		},
		calls: []Edge{{StateFSD, wire.FacetMain}, {KeyMintD, wire.FacetVault}},
	},
}

// Facets lists the endpoints of a service, or of init, in their order; nil for
// who has none. It is for those who watch the system.
func Facets(name string) []Facet {
	if name == initName {
		return []Facet{control}
	}
	for _, r := range table {
		if r.name == name {
			return slices.Clone(r.facets)
		}
	}
	return nil
}

// What the launcher and the apps that it starts may call. An app is handed
// appCalls, and can ask init for them and for appRoutes.
var (
	launcherCalls = []Edge{{IdentityD, wire.FacetMain}, {IdentityD, wire.FacetQuery}}
	appCalls      = []Edge{{KeyStoreD, wire.FacetStore}, {KeyMintD, wire.FacetKeys}}
	appRoutes     = []Edge{{KeyStoreD, wire.FacetKS1}}
)

// control is init's own endpoint: whom it starts asks there for routes.
var control = Facet{Name: "control", Depth: 64, Parallel: 16, Raw: true, Ops: plain(wire.OpRoute)}

// files says who may touch which file under state:. keymintd sees whether there
// is any file at all, because a first boot is when there is none; identityd sees
// what is left of a user whose removal was cut short.
var files = []statefsd.Grant{
	{Subject: KeyMintD, Pattern: "state:/keymint/device.salt", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/root.keys", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/keys.head", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/apps/*", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/epoch-*/keys.head", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.Write},
	{Subject: KeyMintD, Pattern: "state:/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*/*/*", Access: statefsd.List},
	{Subject: KeyMintD, Pattern: "state:/*/*/*/*/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/users.db", Access: statefsd.Write},
	{Subject: IdentityD, Pattern: "state:/identity/guesses", Access: statefsd.Write},
	{Subject: IdentityD, Pattern: "state:/identity/*/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/*/apps/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/*/epoch-*/*", Access: statefsd.List},
	{Subject: IdentityD, Pattern: "state:/identity/*/epoch-*/apps/*", Access: statefsd.List},
	{Subject: KeyStoreD, Pattern: "state:/identity/*/vault.*", Access: statefsd.Write},
	{Subject: KeyStoreD, Pattern: "state:/identity/*/epoch-*/vault.*", Access: statefsd.Write},
}

func plain(ops ...uint16) []ipc.Op { return needing(0, ops...) }

func needing(rights capability.TokenRights, ops ...uint16) []ipc.Op {
	list := make([]ipc.Op, len(ops))
	for i, op := range ops {
		list[i] = ipc.Op{Code: op, Need: rights}
	}
	return list
}
