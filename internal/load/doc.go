// Package load puts a measured load on a lock service, on any that a [Locker] can
// be written for, so that services are compared by the same rules.
//
// # What is measured
//
// A number of workers do the same small thing over and over, the unit of a [Mode],
// for a time. Two things are told apart:
//
//   - The throughput is the number of units that finished within the window of
//     measurement, over its length. The window begins when the warm-up is over.
//   - The latency is that of the units that began within the window. Those under
//     way at its end are waited for, within Config.Patience: the slowest would be
//     missing otherwise.
//
// Units that fail are counted apart: they are neither in the one nor in the other.
// What is cut off because it does not end within the patience has failed, too,
// except for a wait in line, which is unfinished and reported as that.
//
// # Without a rate
//
// Each worker begins its next unit when the last one is over. While the service
// stands still nothing new begins, so a stall of a second is one bad value per
// worker, however many units it kept from being asked for. Gil Tene calls that
// coordinated omission ("How NOT to Measure Latency", 2013). The throughput is that
// of the service at its limit; the latency is only what the workers saw.
//
// # With a rate
//
// Units are due at fixed times, whatever the service does, and the latency of each
// counts from the moment when it was due, not from when a worker got to it. What is
// late queues up, costs no memory, and is counted with its lateness; what is late when
// the warm-up ends is dropped. What was due and has not begun by the end is reported
// as unfinished; it is in no latency, since nobody knows how long it would have taken.
//
// # Goroutines
//
// Run waits for all that it starts: one per worker, one that paces them if there is a
// rate, and one that waits for the workers; before and after the load, those that
// acquire what is kept and release what is left. Run itself tells the progress.
package load
