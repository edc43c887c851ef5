// Package disklog keeps raft's log in segment files: hashicorp/raft-wal, on files
// and a table of segments of our own, with checks before and behind it.
//
// # What is on disk
//
// A directory of segments, each made in full before it is used: written with
// zeros, synced, and only then listed in the table. The table is one value in the
// store that also has term and vote, so that one lock and one check guard all
// three. An append is one write and one fdatasync of bytes that are allocated
// already: a disk that fills up is met when a segment is made, not in the middle
// of one.
//
// raft-wal's segments are frames, with a CRC-32C over each append in its last
// frame. Our entries have one each besides, see [codec], which is looked at on
// every reading: raft-wal looks at its own only for the last append, when it opens.
//
// # What raft-wal v0.4.1 would do by itself, and does not here
//
//   - A segment that is missing at the end of the log is made anew, empty, and what
//     was acknowledged in it is gone without a word. Here a segment that the table
//     lists was synced before, so its absence is damage. Without its own table of
//     segments it deletes all of them; here the table is lost only with the votes.
//   - When it opens it cuts off the last append if that does not match its
//     checksum, whether it was torn or damaged later. Here only what a torn write
//     can look like is cut off, see [segment.torn].
//   - It trusts the append before that unseen, and what it cut off stays in the file,
//     so that a second crash can make it take such remains for a part of the log.
//     Here every append is checked, and what is cut off is overwritten with zeros.
//   - A power cut between the append that fills a segment and the table's next
//     version leaves a log that opens and can never be appended to. Here opening
//     finishes what was begun.
//   - When the next segment cannot be made, as on a full disk, it says so in its log
//     and refuses the next append for another reason. Here the reason is told.
//   - Reading while entries are removed can find its file closed. Here it waits.
package disklog
