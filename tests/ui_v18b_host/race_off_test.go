//go:build !race

package ui_v18b_host

const raceDetector = false
