package wire

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedOpcodes: the table of opcodes in docs/IPC.md says what the code
// says.
func TestDocumentedOpcodes(t *testing.T) {
	ops := map[string]uint16{
		"OpEntropy":  OpEntropy,
		"OpReadFile": OpReadFile, "OpReplaceFile": OpReplaceFile, "OpAppendFile": OpAppendFile, "OpTruncateFile": OpTruncateFile,
		"OpRenameFile": OpRenameFile, "OpRemoveFile": OpRemoveFile, "OpListFiles": OpListFiles,
		"OpDecide":     OpDecide,
		"OpCreateUser": OpCreateUser, "OpListUsers": OpListUsers, "OpRemoveUser": OpRemoveUser, "OpSetCredential": OpSetCredential,
		"OpCreateRecovery": OpCreateRecovery, "OpRemoveCredential": OpRemoveCredential, "OpUninstallApp": OpUninstallApp, "OpRekey": OpRekey,
		"OpRemoveApp": OpRemoveApp, "OpDropApp": OpDropApp, "OpRekeyVault": OpRekeyVault,
		"OpBeginRekey": OpBeginRekey, "OpCommitRekey": OpCommitRekey, "OpVaultEpoch": OpVaultEpoch, "OpResealRecord": OpResealRecord,
		"OpStartSession": OpStartSession, "OpUnsealSession": OpUnsealSession, "OpLockSession": OpLockSession,
		"OpEndSession": OpEndSession, "OpActiveSession": OpActiveSession, "OpIssueToken": OpIssueToken,
		"OpCreateRoot": OpCreateRoot, "OpAddProtector": OpAddProtector, "OpKeepProtectors": OpKeepProtectors,
		"OpRemoveRoot": OpRemoveRoot, "OpUnsealKeys": OpUnsealKeys, "OpSealKeys": OpSealKeys,
		"OpAppKey": OpAppKey, "OpSealRecord": OpSealRecord, "OpOpenRecord": OpOpenRecord, "OpSealSegment": OpSealSegment,
		"OpOpenSegment": OpOpenSegment, "OpVaultID": OpVaultID, "OpGenerateKey": OpGenerateKey, "OpPublicKey": OpPublicKey, "OpSign": OpSign,
		"OpListKeys": OpListKeys, "OpDeleteKey": OpDeleteKey, "OpWrapKey": OpWrapKey, "OpUnwrapKey": OpUnwrapKey,
		"OpRotateKey": OpRotateKey, "OpRevokeKey": OpRevokeKey, "OpSealData": OpSealData, "OpUnsealData": OpUnsealData,
		"OpPut": OpPut, "OpGet": OpGet, "OpDelete": OpDelete, "OpList": OpList, "OpOpenVault": OpOpenVault, "OpForgetVault": OpForgetVault,
		"OpKS1": OpKS1, "OpRoute": OpRoute,
	}
	text, err := os.ReadFile("../../docs/IPC.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.Contains(cells[3], "`Op") {
			continue
		}
		name := strings.Trim(cells[3], " `")
		number, known := ops[name]
		if !known || strings.TrimSpace(cells[4]) != strconv.Itoa(int(number)) {
			t.Errorf("%s is %d (known: %v), documented as %s", name, number, known, cells[4])
		}
		delete(ops, name)
	}
	for name := range ops {
		t.Errorf("%s is not documented", name)
	}
}
