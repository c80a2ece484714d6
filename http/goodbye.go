package http

// goodbye is why the server ends a connection. Each is named, and says whether to come back; docs/protocol.md has the
// table.
type goodbye struct {
	code   int
	reason string
}

func (g goodbye) Error() string { return g.reason }

// The goodbyes. Codes below 4000 are RFC 6455's.
var (
	goodbyeNormal   = goodbye{1000, ""} // the client's own close, answered
	goodbyeShutdown = goodbye{1001, "shutdown: the server is stopping; come back with your last cursor"}
	goodbyeProtocol = goodbye{1002, "protocol: you broke the WebSocket protocol; do not come back unchanged"}
	goodbyeCorrupt  = goodbye{1007, "corrupt: a compressed message could not be inflated; do not come back unchanged"}
	goodbyeTooLarge = goodbye{1009, "frame_too_large: a command was far too large; come back"}
	goodbyeSilent   = goodbye{4000, "silent: nothing was heard from you, not even a pong; come back with your last cursor"}
	goodbyeStalled  = goodbye{4001, "stalled: you read nothing for too long; come back with your last cursor"}
	// Of tokens; on GraphQL's WebSockets, their code is 4403.
	goodbyeExpired      = goodbye{4003, "token_expired: your token has run out; come back with a new one and your last cursor"}
	goodbyeRevoked      = goodbye{4004, "revoked: your token is not valid any more; do not come back before you have signed in again"}
	goodbyeDisconnected = goodbye{4005, "disconnected: an administrator has closed your connections; come back with your last cursor"}
	goodbyeToken        = goodbye{4006, "unauthenticated: "} // and what is wrong with the token
	goodbyeTooMany      = goodbye{4007, "too_many_connections_of_user: you have as many connections as one may have; come back in 5 s"}

	goodbyeBadCommand = goodbye{4002, "bad_frames: too many commands in a row made no sense; do not come back unchanged"}
)

// goodbye is a refusal for who cannot read it as an answer to a request.
func (f *refusal) goodbye() goodbye {
	if f == tooManyOfUser {
		return goodbyeTooMany
	}
	return goodbyef(goodbyeToken.code, "%s%s", goodbyeToken.reason, f.message)
}
