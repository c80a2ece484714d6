// Package realtime is the middle of tidings: what an event, a channel and a cursor are, and the hub that carries each
// event to the subscribers of its channels. It knows nothing of PostgreSQL, HTTP or WebSocket; it reads the log through
// an interface that the database side implements, and transports take from it what is to be written.
//
// What it promises to each subscriber:
//
//   - Every event of its channels that comes after its starting position, exactly once, also if several of its
//     channels match.
//   - In the order of the log: the order in which the reader publishes.
//   - "Subscribed" is said when the stream is live, and its cursor is where it begins.
//   - Cursors only move forward, so the last one a client saw is all it needs to come back without loss or repetition.
//     The one exception is a channel added with a cursor of its own to a connection that has others: until it is
//     subscribed, its past is told with cursors of the past.
//   - No subscriber waits for another. One whose queue is full is left alone until it has written what it has, and is
//     then fed from the log from its own position until it has caught up.
//
// Publish, Start and Restart are called by one goroutine, everything else by any. Locks are taken in the order hub,
// subscriber, and never held while something is read or written.
package realtime
