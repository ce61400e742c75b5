package capability

import (
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	for what, want := range map[fmt.Stringer]string{
		Rights(0): "none", Send: "SEND", AllRights: "SEND|RECV|MAP|MANAGE", Recv | 0x80: "RECV|unknown",
		TokenRights(0): "none", Put: "put", Seal: "seal", Get | List: "get|list", Sign | 0x8000: "sign|unknown",
		AllTokenRights: "put|get|del|list|generate|sign|wrap|seal",
		Kind(0):        "none", KindEndpoint: "endpoint", KindInspector: "inspector", Kind(0xff): "unknown",
	} {
		if got := what.String(); got != want {
			t.Errorf("%T(%d) is %q, want %q", what, what, got, want)
		}
	}
	seen := make(map[string]bool)
	for k := Kind(0); k <= KindInspector; k++ {
		if text := k.String(); text == "" || seen[text] {
			t.Errorf("kind %d is %q", uint8(k), text)
		}
		seen[k.String()] = true
	}
	if text := (KindInspector + 1).String(); text != "unknown" {
		t.Errorf("a kind that there is not is %q", text)
	}
}
