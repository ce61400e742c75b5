//go:build !race

package flood

const (
	flowsOfEach = 24 // flows of control that flood in each way
	rounds      = 10 // that the others do meanwhile
)
