package ipc_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"nexus.internal/os/capability"
	"nexus.internal/os/ipc"
	"nexus.internal/os/tests/vectors"
)

// specification reads docs/IPC.md and returns its text and the cells of every
// row of its tables.
func specification(t *testing.T) (text string, rows [][]string) {
	t.Helper()
	b, err := os.ReadFile("../docs/IPC.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return string(b), rows
}

// TestDocumentedLimits: the table of limits says what the code says.
func TestDocumentedLimits(t *testing.T) {
	limits := map[string]int{
		"MaxFrame": ipc.MaxFrame, "MaxDepth": ipc.MaxDepth, "MaxParallel": ipc.MaxParallel, "MaxWaiting": ipc.MaxWaiting, "MaxOwnerBytes": ipc.MaxOwnerBytes,
		"MaxSystemBytes": ipc.MaxSystemBytes, "MaxEndpoints": ipc.MaxEndpoints, "MaxOwnerEndpoints": ipc.MaxOwnerEndpoints,
		"MaxFacets": ipc.MaxFacets, "MaxOps": ipc.MaxOps, "MaxTasks": ipc.MaxTasks, "MaxTaskName": ipc.MaxTaskName,
		"MaxSessions": ipc.MaxSessions, "MaxTokens": ipc.MaxTokens, "MaxMarkValue": ipc.MaxMarkValue, "TraceEntries": ipc.TraceEntries, "MaxDenials": ipc.MaxDenials,
		"MaxMemory": ipc.MaxMemory, "MaxOwnerMemory": ipc.MaxOwnerMemory, "MaxSystemMemory": ipc.MaxSystemMemory,
		"DefaultTimeout": int(ipc.DefaultTimeout / time.Second), "Slots": capability.Slots,
		"MaxAppID": capability.MaxAppID, "MaxUserID": capability.MaxUserID, "MaxName": capability.MaxName,
	}
	_, rows := specification(t)
	for _, row := range rows {
		name := strings.Trim(row[0], "`")
		if value, ok := limits[name]; ok && row[0] != name {
			if got := strings.TrimSuffix(row[1], " s"); got != strconv.Itoa(value) {
				t.Errorf("%s is %d, documented as %s", name, value, row[1])
			}
			delete(limits, name)
		}
	}
	for name := range limits {
		t.Errorf("%s is not documented", name)
	}
}

// TestDocumentedCodes: the table of codes has each of them, with its name, its
// number and its errno.
func TestDocumentedCodes(t *testing.T) {
	names := strings.Fields("OK PermissionDenied NoSuchEndpoint QueueEmpty QueueFull InvalidArgument NoSpace PeerClosed TimedOut Unsupported " +
		"NotFound Denied Sealed Quota TooLarge Unavailable Malformed Damaged Exists BadSecret IOError LimitReached Canceled " +
		"RolledBack Revoked TryLater LastOne")
	if ipc.Code(len(names)).Valid() {
		t.Error("there are more codes than names")
	}
	_, rows := specification(t)
	for i, name := range names {
		found := false
		for _, row := range rows {
			if len(row) == 4 && row[0] == strconv.Itoa(i) && row[1] == name {
				found = true
				if errno, _, _ := strings.Cut(row[2], " "); errno != strings.TrimPrefix(strconv.Itoa(ipc.Code(i).Errno()), "0") {
					t.Errorf("%s has errno %d, documented as %q", name, ipc.Code(i).Errno(), row[2])
				}
			}
		}
		if !found {
			t.Errorf("code %d, %s, is not documented", i, name)
		}
	}
}

// TestDocumentedVectors: the golden bytes of the text are those of the vectors.
func TestDocumentedVectors(t *testing.T) {
	text, _ := specification(t)
	text = strings.Join(strings.Fields(text), "")
	rows := vectors.Read[vectors.TokenRow](t, "token.json", "rows")
	header := vectors.Read[vectors.Header](t, "header.json", "layout")[0]
	for _, golden := range []string{
		vectors.TokenKey(t).String(), rows[0].Sealed(), rows[1].Sealed(), rows[2].Sealed(), header.Bytes.String(),
	} {
		if !strings.Contains(text, golden) {
			t.Errorf("%s is not in the text", golden)
		}
	}
}
