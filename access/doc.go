// Package access decides who may do what: it reads the access file, knows callers by
// their certificate or token, and holds them to rights on names and to limits.
//
// # The file
//
// One YAML file, see docs/access.md. [Parse] refuses what it does not know and reports
// every fault at once, with its line. A [Policy] is what a file says; it never changes. A
// [Control] has the policy in force, and takes a new one when the content of the
// file changes. A file that cannot be read or has a fault changes nothing: the rules
// before it stay in force, and one line of the log says so.
//
// # Tokens
//
// A token is 256 random bits behind "sema_". The file has its SHA-256. A slow hash, such as
// bcrypt, is for secrets that people choose and others can guess; there is nothing to
// guess here, and a node must not spend a tenth of a second on each call. See
// [Policy.ByToken] for what the time of a comparison tells.
//
// # Cost
//
// A token costs one SHA-256 and a map look-up per call, or per stream. A decision costs a
// binary search among the prefixes that an identity has for a right: no allocation, and
// never a look at the state of the cluster, so that a denial is the same whether or not
// a name is held, in its text as in its time.
//
// # Goroutines
//
// A Control has one, which looks at the file and ends with Close. All methods of this
// package may be called from any goroutine.
package access
