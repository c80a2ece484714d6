package http

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// What clients say is read here and not by gorilla/websocket, which did the handshake, so that a connection at rest holds a
// reader of 64 bytes and a stack as small as they come.

const (
	opContinuation = 0x0
	opClientText   = 0x1
	opClientBinary = 0x2
	opClientClose  = 0x8
	opClientPing   = 0x9
	opClientPong   = 0xA

	// readBuffer holds most of what clients say: a pong has 6 bytes.
	readBuffer = 64
	maxPayload = 125 // of a control frame
)

var (
	// errProtocol says that the client broke the WebSocket protocol.
	errProtocol = errors.New("the client broke the WebSocket protocol")
	// errClosed says that the client said goodbye.
	errClosed = errors.New("the client has closed")
	// errFarTooLarge says that a message is not even worth reading to its end.
	errFarTooLarge = errors.New("a frame is far too large to be read to its end")
)

// clientFrame is a frame's header.
type clientFrame struct {
	fin      bool
	deflated bool // a message that begins with it is compressed
	op       byte
	size     uint64
	mask     [4]byte
}

// readClientFrame reads a header. Clients mask their frames, and use no extension but the one for compressed messages.
func readClientFrame(r *bufio.Reader) (f clientFrame, err error) {
	b, err := r.Peek(2)
	if err != nil {
		return f, err
	}
	f.fin, f.deflated, f.op, f.size = b[0]&0x80 != 0, b[0]&rsv1 != 0, b[0]&0x0F, uint64(b[1]&0x7F)
	begins := f.op == opClientText || f.op == opClientBinary
	if b[0]&0x30 != 0 || f.deflated && !begins || b[1]&0x80 == 0 {
		return f, errProtocol
	}
	header := 2
	switch f.size {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	if b, err = r.Peek(header + len(f.mask)); err != nil {
		return f, err
	}
	switch header {
	case 4:
		f.size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		f.size = binary.BigEndian.Uint64(b[2:])
	}
	copy(f.mask[:], b[header:])
	_, err = r.Discard(header + len(f.mask)) // they are there
	switch control := f.op&0x8 != 0; {
	case err != nil:
		return f, err
	case f.size>>63 != 0, control && (!f.fin || f.size > maxPayload):
		return f, errProtocol
	}
	return f, nil
}

// unmask unmasks a part of a frame's payload, which begins at the offset.
func (f *clientFrame) unmask(b []byte, offset int) {
	for i := range b {
		b[i] ^= f.mask[(offset+i)&3]
	}
}

// readPayload appends a frame's payload.
func (f *clientFrame) readPayload(r *bufio.Reader, b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, f.size)...)
	if _, err := io.ReadFull(r, b[start:]); err != nil {
		return nil, err
	}
	f.unmask(b[start:], 0)
	return b, nil
}

// readMessage reads the next message, whose frames may have others of the protocol's own between them. Of one longer than limit,
// size is the length as it was sent, and text a part.
func (c *wsConn) readMessage(limit int) (op byte, text []byte, size uint64, err error) {
	deflated := false
	for {
		f, err := readClientFrame(c.reader)
		if err != nil {
			return 0, nil, 0, err
		}
		switch f.op {
		case opClientText, opClientBinary:
			if op != 0 || f.deflated && !c.dialect.deflate {
				return 0, nil, 0, errProtocol
			}
			op, deflated = f.op, f.deflated
		case opContinuation:
			if op == 0 {
				return 0, nil, 0, errProtocol
			}
		case opClientClose, opClientPing, opClientPong:
			if err := c.control(f); err != nil {
				return 0, nil, 0, err
			}
			continue
		default:
			return 0, nil, 0, errProtocol
		}
		size += f.size
		switch {
		case f.size > 16*uint64(limit) || size > 16*uint64(limit):
			return 0, nil, 0, errFarTooLarge
		case size > uint64(limit):
			_, err = io.CopyN(io.Discard, c.reader, int64(f.size))
		default:
			text, err = f.readPayload(c.reader, text)
		}
		if err == nil && f.fin && deflated && size <= uint64(limit) {
			text, err = inflate(text, limit)
		}
		if err != nil || f.fin {
			return op, text, size, err
		}
	}
}

// control answers a control frame.
func (c *wsConn) control(f clientFrame) error {
	payload, err := f.readPayload(c.reader, nil)
	if err != nil {
		return err
	}
	c.heard()
	switch f.op {
	case opClientPing:
		c.say(appendControl(nil, opPong, payload))
	case opClientClose:
		if !validClose(payload) {
			return errProtocol
		}
		return errClosed
	}
	return nil
}

// validClose reports whether a close frame's payload is empty, or a code that may be sent and a reason that is text.
func validClose(payload []byte) bool {
	if len(payload) < 2 {
		return len(payload) == 0
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code >= 3000 && code < 5000:
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
	default:
		return false
	}
	return utf8.Valid(payload[2:])
}
