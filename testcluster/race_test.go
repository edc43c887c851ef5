//go:build race

package testcluster_test

// raceEnabled: virtual time costs ten times as much.
const raceEnabled = true
