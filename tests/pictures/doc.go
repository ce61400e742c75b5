// Package pictures makes the diagrams in docs/ and checks that they are current:
// the grant graph, from boot's own table, and the timeline of a run by seed.
package pictures
