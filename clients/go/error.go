package tidings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code says what kind of mistake an error is; it is the protocol's.
type Code string

// The codes that a client has to do with. A service may have others.
const (
	CodeBadRequest       Code = "bad_request"        // there is no such parameter, or it has no such value
	CodeBadChannel       Code = "bad_channel"        // it is not a channel's name
	CodeUnknownChannel   Code = "unknown_channel"    // no table is watched by that name, or its rows have no key
	CodeForbidden        Code = "forbidden"          // the channel is not for this client, or not any more
	CodeUnauthenticated  Code = "unauthenticated"    // the token is not valid
	CodeTooManyChannels  Code = "too_many_channels"  // for one connection
	CodeSnapshotTooLarge Code = "snapshot_too_large" // the rows are more than one page, and have no primary key to go on by
	CodeUnavailable      Code = "unavailable"        // the database cannot be asked now
	CodeNotReady         Code = "not_ready"          // the service is starting or stopping

	CodeTooManyConnections            Code = "too_many_connections"
	CodeTooManyConnectionsFromAddress Code = "too_many_connections_from_address"
	CodeTooManyConnectionsOfUser      Code = "too_many_connections_of_user"

	// CodeNotTidings is the client's own: what answers at the URL is no tidings service.
	CodeNotTidings Code = "not_tidings"
)

// Error is what the service does not do, and why: a code for the program and a sentence for its author.
type Error struct {
	Code       Code
	Message    string
	Channel    string        // that it is about; "": none
	Status     int           // of the HTTP response; 0: it was said on a connection
	RetryAfter time.Duration // that the service asks for; 0: it does not say
}

func (e *Error) Error() string { return e.Message }

// Temporary reports whether the same may be answered otherwise in a while.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeUnavailable, CodeNotReady, CodeTooManyConnections, CodeTooManyConnectionsFromAddress, CodeTooManyConnectionsOfUser:
		return true
	}
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// Goodbye is why the service ended a connection, as the protocol's table has it.
type Goodbye struct {
	Code   int // of the WebSocket's close
	Reason string
}

func (g *Goodbye) Error() string {
	if g.Reason == "" {
		return fmt.Sprintf("the service said goodbye with the code %d", g.Code)
	}
	return "the service said goodbye: " + g.Reason
}

// The goodbyes after which a client does something else than to come back with its cursor.
const (
	goodbyeShutdown        = 1001 // where it holds, coming back is no second attempt
	goodbyeProtocol        = 1002
	goodbyeCorrupt         = 1007
	goodbyeBadFrames       = 4002
	goodbyeExpired         = 4003
	goodbyeRevoked         = 4004
	goodbyeUnauthenticated = 4006
)

// Disconnected is why a Follow is offline, and for how long: it goes on by itself. OnState is given it.
type Disconnected struct {
	Err     error         // what broke the connection, or kept it from being opened
	Attempt int           // how many have failed in a row, this one included; 0: none has, but the service stops, and asked to come to another one
	Wait    time.Duration // until the next
}

func (d *Disconnected) Error() string { return d.Err.Error() }
func (d *Disconnected) Unwrap() error { return d.Err }

// ErrGiveUp is for Client.Token to wrap where asking again makes no sense: nobody is signed in any more, say. Whatever needed the token ends
// with that error.
var ErrGiveUp = errors.New("there will be no token")

// errNoChannels says that a Follow is of nothing.
var errNoChannels = errors.New("tidings: no channels are given to follow")

// wantsToken reports whether an error says that another token is needed.
func wantsToken(err error) bool {
	var refused *Error
	var bye *Goodbye
	switch {
	case errors.As(err, &refused):
		return refused.Code == CodeUnauthenticated
	case errors.As(err, &bye):
		return bye.Code == goodbyeExpired || bye.Code == goodbyeRevoked || bye.Code == goodbyeUnauthenticated
	}
	return false
}

// asksToMove reports whether an error says that the service stops, and that another one is there or will be.
func asksToMove(err error) bool {
	var bye *Goodbye
	return errors.As(err, &bye) && bye.Code == goodbyeShutdown && strings.HasPrefix(bye.Reason, "shutdown")
}

// final reports whether coming back makes no sense. What has been a service before, as known says, is waited for whatever answers in its
// place meanwhile.
func final(err error, known bool) bool {
	var refused *Error
	var bye *Goodbye
	switch {
	case errors.Is(err, ErrGiveUp):
		return true
	case errors.As(err, &refused):
		return !refused.Temporary() && (refused.Code != CodeNotTidings || !known)
	case errors.As(err, &bye):
		return bye.Code == goodbyeProtocol || bye.Code == goodbyeCorrupt || bye.Code == goodbyeBadFrames
	}
	return false
}

// answered is the error that an HTTP response tells of.
func answered(where string, response *http.Response) *Error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // what is there has to do
	var body struct {
		Error struct {
			Code    Code
			Message string
		}
	}
	e := &Error{Status: response.StatusCode}
	if json.Unmarshal(text, &body) == nil && body.Error.Code != "" {
		e.Code, e.Message = body.Error.Code, fmt.Sprintf("%s answers %s: %s", where, response.Status, body.Error.Message)
	} else {
		e.Code, e.Message = CodeNotTidings, fmt.Sprintf("%s answers %s: is it tidings?", where, response.Status)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, time.Hour)
	}
	return e
}
