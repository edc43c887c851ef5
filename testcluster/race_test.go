//go:build race

package testcluster_test

// With the race detector virtual time costs ten times as much: runs are shorter.
const raceEnabled = true
