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
	goodbyeNormal     = goodbye{1000, ""} // the client's own close, answered
	goodbyeShutdown   = goodbye{1001, "shutdown: the server is stopping; come back with your last cursor"}
	goodbyeProtocol   = goodbye{1002, "protocol: you broke the WebSocket protocol; do not come back unchanged"}
	goodbyeCorrupt    = goodbye{1007, "corrupt: a compressed message could not be inflated; do not come back unchanged"}
	goodbyeTooLarge   = goodbye{1009, "frame_too_large: a command was far too large; come back"}
	goodbyeSilent     = goodbye{4000, "silent: nothing was heard from you, not even a pong; come back with your last cursor"}
	goodbyeStalled    = goodbye{4001, "stalled: you read nothing for too long; come back with your last cursor"}
	goodbyeBadCommand = goodbye{4002, "bad_frames: too many commands in a row made no sense; do not come back unchanged"}
)
