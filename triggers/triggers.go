// Package triggers holds the SQL that runs inside the database: schema tidings, with the event log, the watching of
// tables and the triggers that write what changes. It is a migration set of its own and needs nothing of the
// application's tables, so it can make any database live.
//
// What the SQL promises:
//   - An event is written in the transaction that made the change: it exists if and only if the change was committed.
//   - A statement on a watched table never fails because of us: not for a payload's length, not for want of a
//     partition, not because a column was dropped or renamed, not for want of a privilege.
//   - Entries of one transaction are in the order in which they were written, and an entry that was written after
//     another one was committed has the higher id.
package triggers

import "embed"

// Migrations are the SQL files in the order of their numbers, for golang-migrate.
//
//go:embed migrations/*.sql
var Migrations embed.FS
