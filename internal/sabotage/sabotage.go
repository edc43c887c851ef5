// Package sabotage breaks Sema on purpose, so that the tests of its tests can show
// that they notice. It does so only in a build with the tag "sabotage" and, there, only
// what a test has asked for; in every other build On is the constant false
// and the compiler leaves out what depends on it.
package sabotage

// Break is a way to break a promise.
type Break int32

// What can be broken. The first one, nothing, is how every build begins.
const (
	Nothing       Break = iota
	EarlyExpiry         // holds end one second before their time
	WallClock           // a new leader counts cluster time from its wall clock
	TokenReset          // a snapshot that is restored begins with token 1 again
	RetryAcquires       // an acquire that is sent again is a new one
	StaleReads          // a get is answered from the memory of whoever is asked
	AnyRelease          // a release ends the hold that stands, whatever its token
	TimeTaken           // a new leader counts the time without one
	LongHolds           // a hold lasts twenty times as long as was asked
	NoExpiry            // the leader ends no hold that somebody waits for
	LostTicket          // now and then the head of a line is thrown away when its turn comes
	DeniedRelease       // a release is told that it held nothing
	LateLeash           // a lock counts its deadline from the answer, not from before it asked
	NoMargin            // a lock leaves no margin for clocks that drift
	LineForgotten       // after every other change of leader the last in line is served first
	EarlyAcks           // a leader takes an entry for committed that it has not written itself
	UnsyncedLog         // what a node says is on its disk is in the memory of its machine only
	LostVotes           // a founding member whose disk was lost comes back as what it was
)
