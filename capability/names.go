package capability

import "strings"

var kindText = [...]string{
	KindEndpoint: "endpoint", KindEndpointFactory: "endpoint factory", KindVMO: "vmo", KindVMOReadOnly: "read-only vmo",
	KindTimer: "timer", KindSessionAuthority: "session authority", KindInspector: "inspector",
}

// String is the kind in words, "none" for the zero value.
func (k Kind) String() string {
	switch {
	case k == 0:
		return "none"
	case int(k) < len(kindText):
		return kindText[k]
	}
	return "unknown"
}

// String lists the rights' names, joined by "|"; "none" for none.
func (r Rights) String() string { return names(uint(r), "SEND", "RECV", "MAP", "MANAGE") }

// String lists the rights' names, joined by "|"; "none" for none.
func (r TokenRights) String() string {
	return names(uint(r), "put", "get", "del", "list", "generate", "sign", "wrap", "seal")
}

// names lists the names of the bits that are set. All those beyond the last
// name are one "unknown".
func names(mask uint, bits ...string) string {
	if mask == 0 {
		return "none"
	}
	var set []string
	for i, name := range bits {
		if mask&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if mask>>len(bits) != 0 {
		set = append(set, "unknown")
	}
	return strings.Join(set, "|")
}
