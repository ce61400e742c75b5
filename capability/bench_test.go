package capability

import "testing"

// BenchmarkTokenValidation compares what the router does on each message, which
// is to find the live row and compare with its sealed copy, with computing the
// seal each time.
func BenchmarkTokenValidation(b *testing.B) {
	var key [TokenKeySize]byte
	tokens := NewTokens(&key)
	token, row, err := tokens.Mint(TokenFields{Rights: Get, Epoch: 1, SID: 1, App: 1, Holder: 7}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check=row", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, why := tokens.Check(&token, 7, 1); got != row || why != Accepted {
				b.Fatal(why)
			}
		}
	})
	b.Run("check=seal", func(b *testing.B) {
		sealer := NewSealer(&key)
		b.ReportAllocs()
		for b.Loop() {
			if !sealer.Authentic(&token) {
				b.Fatal("not authentic")
			}
		}
	})
}
