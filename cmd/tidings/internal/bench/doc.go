// Package bench puts load on a running service and its database, and keeps exact account of what comes of it: many
// subscribers, each a connection, and writers that insert rows as an application would.
//
// What it promises of its figures:
//
//   - Writers are an open loop: rows are due on a fixed schedule, whatever became of those before, and the latency is
//     counted from when a row was due. So a service or a database that stalls is charged for all rows that it held up,
//     and not for the one that was being written.
//   - Rows of a channel are numbered without a gap, so each subscriber knows of each row that it lacks, got twice, or got
//     behind one that was begun only after it had been committed.
//   - A subscriber whose connection ends comes back with its last cursor, as clients do.
//   - Nothing is shared where rows come in: each subscriber counts for itself, and passes its latencies on by the dozen.
//
// Nothing goes on when Run has returned, and its table is gone.
package bench
