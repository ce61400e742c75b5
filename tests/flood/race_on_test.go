//go:build race

package flood

// Under the race detector, which is slow, the flood is a smaller one.
const (
	flowsOfEach = 4 // flows of control that flood in each way
	rounds      = 3 // that the others do meanwhile
)
