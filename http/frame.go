package http

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"

	"tidings/realtime"
)

// WebSocket frames from server to client, RFC 6455 section 5.2: never masked, here always whole messages. They are
// written here and not by gorilla/websocket so that the frames of many events stand in one buffer, which is made once
// and goes to all subscribers as it is.
const (
	opText  = 0x81 // with FIN
	opClose = 0x88
	opPing  = 0x89
	opPong  = 0x8A

	maxHeader = 10
)

// appendFrame appends a frame whose payload the function appends.
func appendFrame(b []byte, op byte, payload func(b []byte) []byte) []byte {
	start := len(b)
	var room [maxHeader]byte
	b = append(b, room[:]...)
	b = payload(b)
	n := len(b) - start - maxHeader

	header := appendHeader(room[:0], op, n)
	copy(b[start:], header)
	if len(header) < maxHeader {
		copy(b[start+len(header):], b[start+maxHeader:])
		b = b[:start+len(header)+n]
	}
	return b
}

// appendHeader appends the header of a frame whose payload has n bytes.
func appendHeader(b []byte, op byte, n int) []byte {
	b = append(b, op)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// appendControl appends a control frame; its payload is cut off at the 125 bytes that it may have.
func appendControl(b []byte, op byte, payload []byte) []byte {
	payload = payload[:min(len(payload), 125)]
	b = append(b, op, byte(len(payload)))
	return append(b, payload...)
}

func appendClose(b []byte, g goodbye) []byte {
	if g.reason == "" && g.code == 0 {
		return appendControl(b, opClose, nil)
	}
	return appendControl(b, opClose, append(binary.BigEndian.AppendUint16(nil, uint16(g.code)), g.reason...))
}

// frameSize is how many bytes the header and the payload have of the frame with which b begins.
func frameSize(b []byte) (header, payload int) {
	switch size := int(b[1]); size {
	case 126:
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2, size
	}
}

// frameEnd is where the frame ends in whose middle the first n bytes of whole frames end.
func frameEnd(frames []byte, n int) int {
	at := 0
	for at < n {
		header, payload := frameSize(frames[at:])
		at += header + payload
	}
	return at
}

// wsDialect is the protocol of /ws: text frames, {"type":…}.
var wsDialect = webSocketDialect("/ws", "type", TransportWS)

// envelopeDialect is the protocol of /ws/events: the same in the envelope {"event":…,"data":…}.
var envelopeDialect = webSocketDialect("/ws/events", "event", TransportEnvelope)

func webSocketDialect(path, name string, transport Transport) *dialect {
	event := func(b []byte, e *realtime.Event) []byte {
		return appendFrame(b, opText, func(b []byte) []byte { return appendEvent(b, name, e) })
	}
	return &dialect{
		path:      path,
		transport: transport,
		event:     event,
		events:    &realtime.Format{Append: realtime.Each(event)},
		notice: func(b []byte, n *realtime.Notice) []byte {
			return appendFrame(b, opText, func(b []byte) []byte { return appendNotice(b, name, n) })
		},
		tooSoon: func(b []byte, channel realtime.Channel, wait time.Duration) []byte {
			return appendFrame(b, opText, func(b []byte) []byte { return appendTooSoon(b, name, channel, wait) })
		},
		goodbye: appendClose,
		word: func(b []byte, word, user string, expires time.Time) []byte {
			return appendFrame(b, opText, func(b []byte) []byte { return appendWord(b, name, word, user, expires) })
		},
	}
}

// appendEvent appends an event as JSON, its type under the name given. The row's text goes in as PostgreSQL made it.
func appendEvent(b []byte, name string, e *realtime.Event) []byte {
	b = append(b, '{', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	b = appendString(b, e.Type)
	b = append(b, `,"channel":`...)
	b = appendString(b, e.Channel().String())
	if !e.Cursor.IsZero() { // a loaded row's is
		b = append(b, `,"id":"`...)
		b = append(b, e.ID.String()...)
		b = append(b, `","cursor":"`...)
		b = append(b, e.Cursor.String()...)
		b = append(b, `","at":"`...)
		b = e.At.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
		b = append(b, '"')
	}
	if e.Moved {
		b = append(b, `,"moved_from":`...)
		b = appendString(b, realtime.Channel{Topic: e.Topic, Key: e.OldKey}.String())
	}
	if e.Omitted {
		b = append(b, `,"omitted":true`...)
	}
	b = append(b, `,"data":`...)
	if e.Data == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, e.Data...)
	}
	return append(b, '}')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7F {
			quoted, _ := json.Marshal(s) // a string can always be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// resetMessages are the sentences beside the reasons.
var resetMessages = map[realtime.Reset]string{
	realtime.ResetMalformed: "what was given as a cursor is none",
	realtime.ResetForeign:   "the cursor is from another database",
	realtime.ResetFuture:    "the database has not come as far as the cursor: it was restored, or failed over to a copy that lagged",
	realtime.ResetExpired:   "events behind the cursor are no longer kept",
}

// wordExpiring is what a client is told of a token that runs out.
const wordExpiring = "token_expiring"

// appendWord appends what concerns a client's token, as JSON: its type under the name given, whose it is, and how long.
func appendWord(b []byte, name, word, user string, expires time.Time) []byte {
	b = append(append(append(b, '{', '"'), name...), `":`...)
	b = appendString(b, word)
	if user != "" {
		b = appendString(append(b, `,"user":`...), user)
	}
	if !expires.IsZero() {
		b = expires.UTC().AppendFormat(append(b, `,"expires_at":"`...), time.RFC3339)
		b = append(b, '"')
	}
	if word == wordExpiring {
		b = strconv.AppendInt(append(b, `,"seconds":`...), int64(max(0, time.Until(expires)).Round(time.Second)/time.Second), 10)
	}
	return append(b, '}')
}

// appendNotice appends a notice as JSON, its type under the name given.
func appendNotice(b []byte, name string, n *realtime.Notice) []byte {
	b = append(b, '{')
	field := func(name, value string) {
		if value == "" {
			return
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendString(b, value)
	}
	switch n.Kind {
	case realtime.NoticeSubscribed:
		field(name, "subscribed")
	case realtime.NoticePong:
		field(name, "pong")
	case realtime.NoticeUnsubscribed:
		field(name, "unsubscribed")
	case realtime.NoticeLoaded:
		field(name, "loaded")
		b = append(b, `,"rows":`...)
		b = strconv.AppendInt(b, int64(n.Rows), 10)
	case realtime.NoticeCursor:
		field(name, "cursor")
	case realtime.NoticeSignal:
		field(name, n.Type)
		b = append(append(b, `,"data":`...), n.Data...)
	case realtime.NoticeReset:
		field(name, "reset")
		field("reason", string(n.Reason))
		field("message", resetMessages[n.Reason]+": load afresh; what follows begins now")
	case realtime.NoticeError:
		field(name, "error")
		field("code", string(n.Err.Code))
		field("message", n.Err.Message)
	}
	field("channel", n.Channel.String())
	if !n.Cursor.IsZero() {
		field("cursor", n.Cursor.String())
	}
	return append(b, '}')
}
