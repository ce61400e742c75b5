//go:build race

package crash

// raceDetector says whether the race detector is on.
const raceDetector = true
