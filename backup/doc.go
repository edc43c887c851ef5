// Package backup is the format of backup files: what they say of themselves, how they
// are written, and how they are read by somebody who does not trust them.
//
// A file is an envelope around a snapshot of package fsm. See docs/formats.md for its
// bytes and docs/backup.md for what it is good for. Files are taken from a cluster with
// [client.Client.Save] or from a directory with [cluster.SaveDirectory], and become a
// cluster again with [cluster.Restore].
//
// [client.Client.Save]: https://pkg.go.dev/github.com/semanode/sema/client#Client.Save
// [cluster.SaveDirectory]: https://pkg.go.dev/github.com/semanode/sema/cluster#SaveDirectory
// [cluster.Restore]: https://pkg.go.dev/github.com/semanode/sema/cluster#Restore
package backup
