package realtime

import "fmt"

// Code says what kind of mistake an error is; it is part of the protocol.
type Code string

// The codes that the hub answers with.
const (
	CodeBadChannel        Code = "bad_channel"        // not a channel's name
	CodeUnknownChannel    Code = "unknown_channel"    // no such topic
	CodeForbidden         Code = "forbidden"          // not for this user
	CodeUnauthenticated   Code = "unauthenticated"    // not for who has not signed in
	CodeTooManyChannels   Code = "too_many_channels"  // the connection's limit
	CodeAlreadySubscribed Code = "already_subscribed" // asked for twice
	CodeNotSubscribed     Code = "not_subscribed"     // cannot be left
	CodeSnapshotTooLarge  Code = "snapshot_too_large" // the channel's rows are to be loaded page by page
	CodeUnavailable       Code = "unavailable"        // the database does not answer; try again
)

// Error is an answer to a client: a code for its program and a sentence for its author.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ResetError says that a cursor cannot be served: events may be missing, and the client must load afresh.
type ResetError struct {
	Reason Reset
}

func (e *ResetError) Error() string { return string(e.Reason) }

// Reset is why a cursor cannot be served; it is part of the protocol.
type Reset string

// The reasons.
const (
	ResetMalformed Reset = "malformed" // it is not a cursor
	ResetForeign   Reset = "foreign"   // it is from another database
	ResetFuture    Reset = "future"    // this database has not come so far: a failover lost transactions, or a backup was restored
	ResetExpired   Reset = "expired"   // what comes after it is no longer kept
)
