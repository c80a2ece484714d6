package http_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Opcodes of RFC 6455.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// rawClient speaks WebSocket by hand, so that it can do what no library does. It answers pings only while it reads.
type rawClient struct {
	t      testing.TB
	tcp    *net.TCPConn
	conn   net.Conn // tcp, or TLS over it
	reader *bufio.Reader
	mute   bool // does not answer pings
	pings  int  // seen

	deflate  bool // compression was agreed on
	deflated int  // frames seen that were compressed
	bytes    int  // of the last frame's payload, on the wire
}

// dialRaw connects with the given request target, and further lines of the request's header.
func (s *service) dialRaw(target string, header ...string) *rawClient {
	s.t.Helper()
	return s.dialRawBy(new(net.Dialer), target, header...)
}

func (s *service) dialRawBy(dialer *net.Dialer, target string, header ...string) *rawClient {
	s.t.Helper()
	below, err := dialer.DialContext(s.t.Context(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = below.Close() })
	conn := below
	if s.tls != nil {
		config := s.tls.Clone()
		config.ServerName = "127.0.0.1"
		conn = tls.Client(below, config)
	}
	c := &rawClient{t: s.t, tcp: below.(*net.TCPConn), conn: conn, reader: bufio.NewReaderSize(conn, 64<<10)}
	c.write([]byte("GET " + target + " HTTP/1.1\r\nHost: " + s.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		strings.Join(append(header, "\r\n"), "\r\n")))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols ||
		response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // the example of RFC 6455
		s.t.Fatalf("the handshake was answered with %s, %v", response.Status, response.Header)
	}
	switch extensions := response.Header.Get("Sec-WebSocket-Extensions"); extensions {
	case "":
	case "permessage-deflate; server_no_context_takeover; client_no_context_takeover":
		c.deflate = true
	default:
		s.t.Fatalf("the handshake was answered with the extensions %q", extensions)
	}
	return c
}

// maskedFrame is a frame as a client sends it.
func maskedFrame(fin bool, op byte, payload []byte) []byte {
	frame := []byte{op, 0x80}
	if fin {
		frame[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		frame[1] |= byte(n)
	case n < 1<<16:
		frame[1] |= 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(n))
	default:
		frame[1] |= 127
		frame = binary.BigEndian.AppendUint64(frame, uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	return frame
}

func (c *rawClient) write(data []byte) {
	c.t.Helper()
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conn.Write(data); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) send(fin bool, op byte, payload string) {
	c.t.Helper()
	c.write(maskedFrame(fin, op, []byte(payload)))
}

// read reads one frame as it is on the wire.
func (c *rawClient) read() (op byte, payload []byte, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	var header [2]byte
	if _, err := io.ReadFull(c.reader, header[:]); err != nil {
		return 0, nil, err
	}
	deflated := c.deflate && header[0] == 0xC0|opText
	if header[0]&0xF0 != 0x80 && !deflated || header[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a frame begins with %x: the server's are whole, unmasked, and without what was not agreed on", header)
	}
	n := uint64(header[1])
	switch n {
	case 126:
		var size uint16
		if err := binary.Read(c.reader, binary.BigEndian, &size); err != nil {
			return 0, nil, err
		}
		n = uint64(size)
	case 127:
		if err := binary.Read(c.reader, binary.BigEndian, &n); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.reader, payload)
	c.bytes = len(payload)
	if err == nil && deflated {
		c.deflated++
		payload, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	}
	return header[0] & 0xF, payload, err
}

// frame reads the next text frame, and answers pings on the way.
func (c *rawClient) frame() frame {
	c.t.Helper()
	for {
		op, payload, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		switch op {
		case opText:
			f := frame{text: string(payload)}
			if err := json.Unmarshal(payload, &f); err != nil {
				c.t.Fatalf("%v in the frame %q", err, payload)
			}
			if f.Type == "cursor" {
				continue // comes with a ping
			}
			return f
		case opPing:
			c.pings++
			if !c.mute {
				c.send(true, opPong, string(payload))
			}
		default:
			c.t.Fatalf("got a frame with opcode %d: %q", op, payload)
		}
	}
}

// expectClose reads until the close frame, and then until the end of the connection.
func (c *rawClient) expectClose(code int, reason string) {
	c.t.Helper()
	for {
		op, payload, err := c.read()
		if err != nil {
			c.t.Fatalf("the connection ended with %v, want a close frame %d", err, code)
		}
		if op != opClose {
			continue
		}
		if len(payload) < 2 || int(binary.BigEndian.Uint16(payload)) != code || !strings.HasPrefix(string(payload[2:]), reason) {
			c.t.Errorf("got the close frame %q, want %d %s", payload, code, reason)
		}
		break
	}
	if rest, err := io.ReadAll(c.reader); len(rest) > 0 {
		c.t.Errorf("behind the close frame there came %q, %v", rest, err)
	}
}
