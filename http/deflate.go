package http

import (
	"bytes"
	"compress/flate"
	"net/http"
	"strings"
	"sync"

	"tidings/realtime"
)

// Messages may be compressed by RFC 7692's extension, each by itself ("no context takeover"): so an event is compressed once for
// all who take it so, and no connection keeps a window.

const (
	extensionHeader = "Sec-WebSocket-Extensions"
	extension       = "permessage-deflate"

	// rsv1 is the bit of a message's first frame that says that the message is compressed.
	rsv1 = 0x40
	// flushed is what a flushed compressor's output ends with. It is left out of messages.
	flushed = "\x00\x00\xff\xff"
)

// negotiate decides whether a connection's messages may be compressed. What it leaves of the offer in the request's header is what
// gorilla/websocket agrees to, and does not tell of.
func (s *Server) negotiate(request http.Header) bool {
	agreed := s.options.CompressMinBytes > 0 && offersDeflate(request.Values(extensionHeader))
	request.Del(extensionHeader)
	if agreed {
		request.Set(extensionHeader, extension)
	}
	return agreed
}

// offersDeflate reports whether the extension is among those offered, whatever its parameters are. A smaller window is one that
// we do not grant; RFC 7692 would have such an offer declined, but common clients ask for one and do without.
func offersDeflate(offers []string) bool {
	for offer := range strings.SplitSeq(strings.Join(offers, ","), ",") {
		if name, _, _ := strings.Cut(offer, ";"); strings.TrimSpace(name) == extension {
			return true
		}
	}
	return false
}

// deflating is the dialect on connections whose messages may be compressed: events with at least minBytes of JSON are.
func (d *dialect) deflating(minBytes int) *dialect {
	event := func(b []byte, e *realtime.Event) []byte {
		return deflateFrame(d.event(b, e), len(b), minBytes)
	}
	return &dialect{path: d.path, transport: d.transport, event: event, events: &realtime.Format{Append: realtime.Each(event)}, notice: d.notice, tooSoon: d.tooSoon, word: d.word,
		goodbye: d.goodbye, deflate: true}
}

// deflateFrame compresses the last frame, which begins at start, if its payload has at least minBytes and gets smaller.
func deflateFrame(b []byte, start, minBytes int) []byte {
	header, size := frameSize(b[start:])
	if size < minBytes {
		return b
	}
	d := deflaters.Get().(*deflater)
	defer d.release()
	small := d.deflate(b[start+header:])
	if len(small) >= size {
		return b
	}
	return appendFrame(b[:start], b[start]|rsv1, func(b []byte) []byte { return append(b, small...) })
}

// deflater is a compressor. It takes 1.2 MB, so there are few, and only while they are needed.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

// The fastest level: of a row of some KB, the usual one makes 3 percent less, and takes three times as long.
var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed) // there is such a level
	return d
}}

// deflate compresses a message. What it returns is good until release.
func (d *deflater) deflate(text []byte) []byte {
	d.w.Reset(&d.out)
	_, _ = d.w.Write(text) // a buffer takes everything
	_ = d.w.Flush()
	return bytes.TrimSuffix(d.out.Bytes(), []byte(flushed))
}

func (d *deflater) release() {
	d.out.Reset()
	if d.out.Cap() > maxGather {
		d.out = bytes.Buffer{} // of an event larger than most
	}
	deflaters.Put(d)
}
