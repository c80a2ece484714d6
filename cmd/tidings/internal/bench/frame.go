package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"tidings/db"
)

// frame is what the service says to a subscriber, as far as it matters here. Its text is valid as long as what it was
// read from.
type frame struct {
	kind   string
	cursor []byte // nil: it has none
	row    db.BenchRow
	// Of an error, a goodbye or a reset.
	code, message string
}

// readFrame reads the JSON of a frame. Thousands of subscribers share a machine, perhaps with what they measure, so rows
// are not decoded but looked through, as the service writes them; whatever looks different is decoded.
func readFrame(text []byte) (frame, error) {
	if f, ok := scanRow(text); ok {
		return f, nil
	}
	return decodeFrame(text)
}

// scanRow reads a row's event as the service writes it: all fields in their order, without white space.
func scanRow(text []byte) (f frame, ok bool) {
	s := scanner{rest: text}
	if !s.skip(`{"type":"` + db.BenchEvent) {
		s.expect(`{"event":"` + db.BenchEvent)
	}
	s.expect(`","channel":"`)
	s.text()
	s.expect(`,"id":"`)
	s.text()
	s.expect(`,"cursor":"`)
	f.cursor = s.text()
	s.expect(`,"at":"`)
	s.text()
	s.expect(`,"data":{"id":`)
	s.number()
	s.expect(`,"channel":`)
	f.row.Channel = s.number()
	s.expect(`,"sequence":`)
	f.row.Sequence = s.number()
	s.expect(`,"settled":`)
	f.row.Settled = s.number()
	s.expect(`,"sent_at":`)
	f.row.SentAt = s.number()
	s.expect(`,"content":"`)
	f.kind = db.BenchEvent
	return f, !s.failed && bytes.HasSuffix(s.rest, []byte(`"}}`))
}

// scanner walks along a text. After something unexpected it has failed, and what it returns means nothing.
type scanner struct {
	rest   []byte
	failed bool
}

// skip steps over a text if it is there.
func (s *scanner) skip(text string) bool {
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *scanner) expect(text string) {
	if !s.failed && !s.skip(text) {
		s.failed = true
	}
}

// text returns what is left of a string and steps over its quote. A string with an escape in it is unexpected.
func (s *scanner) text() []byte {
	end := bytes.IndexByte(s.rest, '"')
	if s.failed || end < 0 || bytes.IndexByte(s.rest[:end], '\\') >= 0 {
		s.failed = true
		return nil
	}
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	return text
}

// number returns a number without a sign, of at most 18 digits.
func (s *scanner) number() (n int64) {
	digits := 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' && digits <= 18 {
		n = 10*n + int64(s.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 18 {
		s.failed = true
		return 0
	}
	s.rest = s.rest[digits:]
	return n
}

// decodeFrame reads any frame.
func decodeFrame(text []byte) (frame, error) {
	var f struct {
		Type    string       `json:"type"`
		Event   string       `json:"event"` // on /ws/events
		Cursor  string       `json:"cursor"`
		Code    string       `json:"code"`
		Reason  string       `json:"reason"`
		Message string       `json:"message"`
		Data    *db.BenchRow `json:"data"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return frame{}, fmt.Errorf("the service said what is no frame: %w", err)
	}
	read := frame{kind: f.Type + f.Event, code: f.Code + f.Reason, message: f.Message}
	if f.Cursor != "" {
		read.cursor = []byte(f.Cursor)
	}
	if read.kind == db.BenchEvent && f.Data == nil {
		return frame{}, errors.New("the service left out a row")
	}
	if f.Data != nil {
		read.row = *f.Data
	}
	return read, nil
}
