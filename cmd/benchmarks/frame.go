package main

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/gorilla/websocket"
)

// readFrame reads one message into the buffer, or into a larger one.
func readFrame(ws *websocket.Conn, buffer []byte) ([]byte, error) {
	_, reader, err := ws.NextReader()
	if err != nil {
		return nil, err
	}
	n := 0
	for {
		if n == len(buffer) {
			buffer = append(buffer, make([]byte, len(buffer))...)
		}
		got, err := reader.Read(buffer[n:])
		n += got
		if errors.Is(err, io.EOF) {
			return buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

type eventKind int

const (
	eventOther eventKind = iota
	eventAdded
	eventUpdated
	eventTruncated
	eventNone // a position where nothing has happened
)

var (
	beforeType      = []byte(`{"type":"`)
	addedSuffix     = []byte("_added")
	updatedSuffix   = []byte("_updated")
	truncatedSuffix = []byte("_truncated")
	beforeID        = []byte(`"data":{"id":`)
	beforeCursor    = []byte(`"cursor":"`)
	beforeResult    = []byte(`"payload":{"data":{"messageAdded":{"id":"`)
)

// parseEvent finds what kind of frame it is, and the id of the row. It does not decode: thousands of clients have to share
// the machine with what is measured.
func parseEvent(text []byte) (id int64, kind eventKind) {
	rest, ok := bytes.CutPrefix(text, beforeType)
	if !ok {
		return parseResult(text)
	}
	name := rest[:max(0, bytes.IndexByte(rest, '"'))]
	switch {
	case bytes.HasSuffix(name, addedSuffix):
		kind = eventAdded
	case bytes.HasSuffix(name, updatedSuffix):
		kind = eventUpdated
	case bytes.HasSuffix(name, truncatedSuffix):
		return 0, eventTruncated
	case string(name) == "cursor":
		return 0, eventNone
	default:
		return 0, eventOther
	}
	from, to := idBounds(text)
	if from == to {
		return 0, eventOther
	}
	id, err := strconv.ParseInt(string(text[from:to]), 10, 64)
	if err != nil {
		return 0, eventOther
	}
	return id, kind
}

// parseResult does so with a result of the subscription to messageAdded.
func parseResult(text []byte) (id int64, kind eventKind) {
	_, rest, ok := bytes.Cut(text, beforeResult)
	if !ok {
		return 0, eventOther
	}
	id, err := strconv.ParseInt(string(rest[:max(0, bytes.IndexByte(rest, '"'))]), 10, 64)
	if err != nil {
		return 0, eventOther
	}
	return id, eventAdded
}

// idBounds returns where the row's id begins and ends.
func idBounds(text []byte) (from, to int) {
	at := bytes.Index(text, beforeID)
	if at < 0 {
		return 0, 0
	}
	from = at + len(beforeID)
	for to = from; to < len(text) && text[to] >= '0' && text[to] <= '9'; to++ {
	}
	return from, to
}

// cursorOf is the frame's cursor, if it has one.
func cursorOf(text []byte) string {
	at := bytes.Index(text, beforeCursor)
	if at < 0 {
		return ""
	}
	rest := text[at+len(beforeCursor):]
	return string(rest[:bytes.IndexByte(rest, '"')])
}
