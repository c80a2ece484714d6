package http

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// maskedClientFrame is a frame as clients send it.
func maskedClientFrame(first byte, mask [4]byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

func TestReadClientFrame(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 5, 57, 58, 59, 125, 126, 127, 65_535, 65_536, 200_000} {
		payload := bytes.Repeat([]byte("tidings!?"), size/9+1)[:size]
		text := maskedClientFrame(0x80|opClientText, [4]byte{1, 0x80, 0, 0xFF}, payload)
		two := append(bytes.Clone(text), text...)
		r := bufio.NewReaderSize(bytes.NewReader(two), readBuffer)
		for range 2 {
			f, err := readClientFrame(r)
			if err != nil || !f.fin || f.op != opClientText || f.size != uint64(size) {
				t.Fatalf("%d bytes: got %+v, %v", size, f, err)
			}
			if got, err := f.readPayload(r, []byte("before ")); err != nil || string(got) != "before "+string(payload) {
				t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
			}
		}
		// Whatever is cut off is an error, and not a frame.
		for _, n := range []int{1, 2, 5, len(text) - 1} {
			r := bufio.NewReaderSize(bytes.NewReader(text[:min(n, len(text)-1)]), readBuffer)
			f, err := readClientFrame(r)
			if err == nil {
				_, err = f.readPayload(r, nil)
			}
			if err == nil {
				t.Errorf("the first %d of %d bytes are a frame", n, len(text))
			}
		}
	}
}

// No header has it panic, and none that is taken breaks the protocol.
func FuzzReadClientFrame(f *testing.F) {
	f.Add(maskedClientFrame(0x80|opClientPong, [4]byte{1, 2, 3, 4}, nil))
	f.Add(maskedClientFrame(0x80|opClientClose, [4]byte{1, 2, 3, 4}, []byte("\x03\xe8bye")))
	f.Add(maskedClientFrame(opClientText, [4]byte{}, make([]byte, 126)))
	f.Add(maskedClientFrame(0x80|rsv1|opClientText, [4]byte{1, 2, 3, 4}, []byte("\x00")))
	f.Add(maskedClientFrame(0x80|rsv1|opClientPing, [4]byte{}, nil))
	f.Add(maskedClientFrame(0x80|rsv1|opContinuation, [4]byte{}, nil))
	f.Add(maskedClientFrame(0x90|opClientText, [4]byte{}, nil))
	f.Add([]byte{0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := readClientFrame(bufio.NewReaderSize(bytes.NewReader(b), readBuffer))
		if err != nil {
			return
		}
		if frame.deflated != (b[0]&rsv1 != 0) || frame.deflated && frame.op != opClientText && frame.op != opClientBinary {
			t.Errorf("%x is taken as %+v", b, frame)
		}
		if b[0]&0x30 != 0 || b[1]&0x80 == 0 || frame.size>>63 != 0 || frame.op >= 8 && (!frame.fin || frame.size > maxPayload) {
			t.Errorf("%x is taken as %+v", b, frame)
		}
	})
}

// Whatever a compressed message is made of, no more than the limit comes out of it, and what we compressed comes out as it was.
func FuzzInflate(f *testing.F) {
	for _, message := range []string{"", "\x00", "\x04\xc0", "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf2\x00\x11\x00\x00",
		"\x00\x05\x00\xfa\xffHello\x00", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", strings.Repeat("hello, ", 1000)} {
		f.Add([]byte(message), 10)
		f.Add([]byte(message), 1000)
	}
	f.Fuzz(func(t *testing.T, message []byte, limit int) {
		limit = max(0, min(limit, 1<<20))
		text, err := inflate(bytes.Clone(message), limit)
		switch {
		case err == nil && len(text) > limit:
			t.Errorf("%d bytes are inflated, want %d at most", len(text), limit)
		case err != nil && (text != nil || !errors.Is(err, errCorrupt) && !errors.Is(err, errFarTooLarge)):
			t.Errorf("got %d bytes and %v", len(text), err)
		}
		d := deflaters.Get().(*deflater)
		defer d.release()
		small := bytes.Clone(d.deflate(message))
		if text, err := inflate(small, len(message)); err != nil || !bytes.Equal(text, message) {
			t.Errorf("%d bytes come out as %d, %v", len(message), len(text), err)
		}
		if _, err := inflate(small, len(message)-1); len(message) > 0 && !errors.Is(err, errFarTooLarge) {
			t.Errorf("%d bytes, one too many: %v", len(message), err)
		}
	})
}

func TestValidClose(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]bool{
		"": true, "\x03": false, "\x03\xe8": true, "\x03\xe8bye": true, "\x03\xe8\xff": false, "\x03\xec": false, "\x03\xed": false, "\x03\xee": false,
		"\x03\xf7": false, "\x0b\xb7": false, "\x0b\xb8": true, "\x13\x87": true, "\x13\x88": false, "\x00\x00": false,
	} {
		if got := validClose([]byte(payload)); got != want {
			t.Errorf("close %x: got %t, want %t", payload, got, want)
		}
	}
}
